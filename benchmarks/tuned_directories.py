"""Simulated sweeps of tuned cells as run directories, which the report reads, selects by and judges."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.designs import TunedDesign
from benchmarks.synthetic import write_run
from benchmarks.tuned_cells import LRS, TUNED, Simulated, compare, scores, simulate
from mnist_mlp.analysis.roles import CELL, REPLICATE
from mnist_mlp.analysis.selection import CANDIDATE, rank_candidates
from mnist_mlp.base.choices import Candidate, Selection, write_choices
from mnist_mlp.base.schema import COMPARED, LEARNING_RATE
from mnist_mlp.base.sweep_file import CONFIRM, EACH, SEARCH, Command, SweepRecord, write_sweep
from mnist_mlp.report import compare_sweeps
from mnist_mlp.stats.verdicts import SIGNIFICANT

INIT, OPTIMS = "he", ("adam", "sgd")  # the cells, in alphabetical order
FRESH = 1_000_000  # added to a search seed, it is the seed that confirms the selection


def judge_directory(design: TunedDesign, confirmed: bool, number: int) -> bool:
    """Judge a sweep of two cells by its run directories, and check that its arrays give the same pairs.

    Returns:
        Whether a pair is significant.
    """
    sweep = simulate(design, [number])
    with tempfile.TemporaryDirectory() as top:
        write_sweep_directory(Path(top) / "sweep", sweep, confirmed)
        results, comparisons = compare_sweeps([Path(top) / "sweep"])
    assert not results.problems, results.problems
    (comparison,) = comparisons.values()
    pairs, expected = comparison.pairs, compare(design, scores(sweep, EACH, confirmed), EACH, confirmed)
    names = dict(zip(sweep.cells, (f"{INIT} / {optim}" for optim in OPTIMS), strict=True))
    for side in ("a", "b"):
        assert pairs[side].tolist() == expected[side].map(names).tolist()
    assert pairs[["verdict", "reason"]].equals(expected[["verdict", "reason"]])
    for measure in ("difference", "p", "p_corrected"):
        np.testing.assert_allclose(pairs[measure], expected[measure], rtol=1e-9)
    return bool(pairs["verdict"].isin(SIGNIFICANT).any())


def write_sweep_directory(directory: Path, sweep: Simulated, confirmed: bool) -> None:
    """Write a sweep of two cells as `run.py` leaves it: runs, `sweep.json` and, if confirmed, `choices.json`."""
    runs = sweep.runs.assign(optim=np.array(OPTIMS)[sweep.runs[CELL].map(list(sweep.cells).index)])
    runs["job"] = [
        f"{o},{lr},{s}" for o, lr, s in zip(runs["optim"], runs[LEARNING_RATE], runs[REPLICATE], strict=True)
    ]
    columns = ("job", "optim", REPLICATE, LEARNING_RATE, "val_accuracy", "test_accuracy")
    for job, *run in zip(*(runs[name].tolist() for name in columns), strict=True):
        _write(directory / job, *run)
    phases = {SEARCH: runs["job"].tolist()}
    if confirmed:
        choices = _confirm(directory, sweep, runs)
        phases[CONFIRM] = [job for of in choices.values() for one in of.values() for job in one.confirmed.values()]
        write_choices(directory, choices)
    jobs = [job for of_phase in phases.values() for job in of_phase]
    record = SweepRecord(
        compare=COMPARED,
        tuned=TUNED,
        replicates={"seed": sorted(map(int, runs[REPLICATE].unique()))},
        select=EACH,
        margin=None,
        phases=phases,
        commands=[Command(command="simulated", jobs=jobs)],
    )
    write_sweep(directory, record)


def _confirm(directory: Path, sweep: Simulated, runs: pd.DataFrame) -> dict[str, dict[str, Selection]]:
    """Write the runs that confirm each seed's selection; return the content of `choices.json`."""
    choices: dict[str, dict[str, Selection]] = {}
    jobs = dict(zip(zip(runs["optim"], runs[REPLICATE], runs[LEARNING_RATE], strict=True), runs["job"], strict=True))
    ranking = rank_candidates(runs, TUNED)
    for place, (cell, optim) in enumerate(zip(sweep.cells, OPTIMS, strict=True)):
        for seed in range(sweep.confirming.shape[2]):
            ranked = ranking[(ranking[CELL] == cell) & (ranking[REPLICATE] == seed)]
            rates = sweep.rates[ranked[CANDIDATE]].tolist()
            candidates = [
                Candidate(
                    configuration={LEARNING_RATE: float(LRS[rate])},
                    accuracy=float(accuracy),
                    loss=float(loss),
                    jobs=[jobs[optim, seed, LRS[rate]]],
                )
                for rate, accuracy, loss in zip(rates, ranked["accuracy"], ranked["loss"], strict=True)
            ]
            lr, accuracy = float(LRS[rates[0]]), float(sweep.confirming[place, rates[0], seed])
            job = f"{optim},{lr},{seed + FRESH}"
            _write(directory / job, optim, seed + FRESH, lr, accuracy, accuracy)
            choices.setdefault(f"{INIT} / {optim}", {})[str(seed)] = Selection(
                configuration=candidates[0].configuration, candidates=candidates, confirmed={seed + FRESH: job}
            )
    return choices


def _write(directory: Path, optim: str, seed: int, lr: float, val: float, test: float) -> None:
    """Write a run of one epoch with these accuracies; NaN for one that diverged."""
    finals = {} if np.isnan(test) else {"train": val, "val": val, "test": test}
    write_run(directory, INIT, optim, seed, finals, 1, lr)
