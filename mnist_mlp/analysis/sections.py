"""Sections of a report: results that were measured on the same terms, as only those compare."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from mnist_mlp.analysis.load import Results
from mnist_mlp.analysis.roles import REPLICATE, measured_keys, tested
from mnist_mlp.analysis.values import as_typed, sort_key
from mnist_mlp.base.sweep_file import CONFIRM, SEARCH


def sections(results: Results, by: Sequence[str]) -> dict[str, Results]:
    """The results apart for each data set and whatever else was measured on other terms, as they do not compare.

    A section is named by what differs: the option of the data, the keys that vary on it (as "mnist, epochs=2"), and,
    where all those have brought different data, the digest's first digits.

    Args:
        results: all.
        by: the compared keys, whose values are cells instead.
    """
    names: dict[str, pd.DataFrame] = {}
    for option, part in tested(results.runs).groupby("data"):
        texts = pd.DataFrame({key: part[key].map(as_typed) for key in measured_keys(part, by)}, index=part.index)
        rows = list(map(tuple, texts.to_numpy()))
        for values in sorted(set(rows), key=lambda values: [sort_key(value) for value in values]):
            name = ", ".join([str(option), *(f"{key}={v}" for key, v in zip(texts, values, strict=True))])
            names |= _by_digest(name, part[[row == values for row in rows]], by)
    found = {name: _with_search(runs, results.runs) for name, runs in names.items()}
    return {
        name: replace(results, runs=runs, metrics=results.metrics[results.metrics["run"].isin(runs.index)])
        for name, runs in found.items()
    }


def moving_with_seeds(section: Results, results: Results, keys: Sequence[str]) -> dict[str, int]:
    """Return the conditions that have other seeds at each value, so that seeds are apart in sections of their own.

    Args:
        section: One section.
        results: All runs.
        keys: Keys whose values are the sections.

    Returns:
        Each such key that the seeds of the section's data vary with, and how many seeds there are in all.
    """
    runs = tested(results.runs)
    runs = runs[runs["data"].isin(section.runs["data"])]
    seeds = runs[REPLICATE].nunique()
    here = tested(section.runs)[REPLICATE].nunique()
    return {
        key: seeds
        for key in measured_keys(runs, ())
        if key in keys and here < seeds and (runs[key].map(as_typed).groupby(runs[REPLICATE]).nunique() == 1).all()
    }


def _with_search(section: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """A section's runs, and those of the search whose choices it confirms, whatever these were measured on."""
    confirmed = section.loc[section["phase"] == CONFIRM, "chosen_in"].unique()
    search = runs[(runs["phase"] == SEARCH) & runs["chosen_in"].isin(confirmed) & ~runs.index.isin(section.index)]
    return pd.concat([section, search]) if len(search) else section


def _by_digest(name: str, runs: pd.DataFrame, by: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The runs apart for each content of their data; one that failed early has none, and goes with the first.

    Together, where compared keys of the data explain its content.
    """
    explained = [runs[key].map(as_typed) for key in by if key.startswith("data.")]
    if (runs.groupby(explained or [runs["data"]])["digest"].nunique() < 2).all():
        return {name: runs}
    digests = runs["digest"].fillna(runs["digest"].dropna().iloc[0])
    return {f"{name} {str(digest)[:8]}": part for digest, part in runs.groupby(digests)}
