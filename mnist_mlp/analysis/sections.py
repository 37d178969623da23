"""Sections of a report: results under the same evaluation conditions, since only these are comparable."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from mnist_mlp.analysis.load import Results
from mnist_mlp.analysis.roles import REPLICATE, evaluation_runs, measured_keys
from mnist_mlp.analysis.values import as_typed, sort_key
from mnist_mlp.base.sweep_file import CONFIRM, SEARCH


def sections(results: Results, by: Sequence[str]) -> dict[str, Results]:
    """Split the results into sections that share a data set and evaluation conditions.

    Args:
        results: Results of all runs.
        by: Compared keys. Their values distinguish cells, not sections.

    Returns:
        Results by the name of their section. A name such as "mnist, epochs=2" has the data option, and the values of
        the conditions that vary among its runs. If the same option loaded different data, the first digits of their
        digest follow.
    """
    names: dict[str, pd.DataFrame] = {}
    for option, part in evaluation_runs(results.runs).groupby("data"):
        texts = pd.DataFrame({key: part[key].map(as_typed) for key in measured_keys(part, by)}, index=part.index)
        rows = list(map(tuple, texts.to_numpy()))
        for values in sorted(set(rows), key=lambda values: [sort_key(value) for value in values]):
            name = ", ".join([str(option), *(f"{key}={v}" for key, v in zip(texts, values, strict=True))])
            names |= _by_digest(name, part[[row == values for row in rows]], by)
    found = {name: _with_search(runs, results.runs) for name, runs in names.items()}
    return {
        name: replace(
            results,
            runs=runs,
            metrics=results.metrics[results.metrics["run"].isin(runs.index)],
            additional={run: of_run for run, of_run in results.additional.items() if run in runs.index},
        )
        for name, runs in found.items()
    }


def moving_with_seeds(section: Results, results: Results, keys: Sequence[str]) -> dict[str, int]:
    """Return the conditions that vary only together with the seed, which puts the seeds into separate sections.

    Args:
        section: Results of one section.
        results: Results of all runs.
        keys: Keys whose values distinguish the sections.

    Returns:
        Number of seeds in all sections with the same data, by such a key. Empty if this section has all of these
        seeds.
    """
    runs = evaluation_runs(results.runs)
    runs = runs[runs["data"].isin(section.runs["data"])]
    seeds = runs[REPLICATE].nunique()
    here = evaluation_runs(section.runs)[REPLICATE].nunique()
    return {
        key: seeds
        for key in measured_keys(runs, ())
        if key in keys and here < seeds and (runs[key].map(as_typed).groupby(runs[REPLICATE]).nunique() == 1).all()
    }


def _with_search(section: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Add the runs of the searches that a section confirms, even if their evaluation conditions differ from its own."""
    confirmed = section.loc[section["phase"] == CONFIRM, "chosen_in"].unique()
    search = runs[(runs["phase"] == SEARCH) & runs["chosen_in"].isin(confirmed) & ~runs.index.isin(section.index)]
    return pd.concat([section, search]) if len(search) else section


def _by_digest(name: str, runs: pd.DataFrame, by: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Split runs by the digest of their data, unless compared keys of the data explain the digest.

    A run that failed before it loaded its data joins the first part.
    """
    explained = [runs[key].map(as_typed) for key in by if key.startswith("data.")]
    if (runs.groupby(explained or [runs["data"]])["digest"].nunique() < 2).all():
        return {name: runs}
    digests = runs["digest"].fillna(runs["digest"].dropna().iloc[0])
    return {f"{name} {str(digest)[:8]}": part for digest, part in runs.groupby(digests)}
