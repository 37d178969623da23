"""Selections by several commands in one directory, and by several sweeps in one report."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mnist_mlp.app import dry_run, records
from mnist_mlp.app.confirm import Confirmation, MakeJobs, read
from mnist_mlp.app.sequential import seeds_of
from mnist_mlp.app.state import Request, State
from mnist_mlp.app.sweep import check
from mnist_mlp.base.choices import CHOICES_FILE, Candidate, Selection, read_choices, write_choices
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interim import SequentialPlan
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import CONFIRM, EACH, ONCE, SEARCH
from mnist_mlp.report import compare_sweeps
from mnist_mlp.report.text.answer import answer
from mnist_mlp.sweeps.jobs import Job
from tests.helpers.runs import Write
from tests.helpers.sweeping import planning, requested, state_by_disk, write_results

SIX = SequentialPlan(margin=None, max_seeds=6, batch=2)


def jobs(rates: Sequence[float], seeds: Sequence[int], *more: str) -> list[list[str]]:
    return [
        [f"optim={o}", f"optim.lr={lr}", f"seed={s}", *more] for o in ("adam", "sgd") for lr in rates for s in seeds
    ]


def by_rate(job: Job) -> float:
    """Return an accuracy that rises with the learning rate; with seed 0 it drops above a rate of 0.2."""
    lr = job.config["optim"]["lr"]
    return float(0.5 + lr - 0.7 * (job.config["seed"] == 0 and lr > 0.2) + job.config["seed"] % 7 / 1e4)


@contextmanager
def sweep(top: Path) -> Iterator["Sweep"]:
    with planning(top) as plan:
        yield Sweep(top, plan)


class Sweep:
    """Commands in one directory, whose jobs end with the accuracies of `by_rate`."""

    def __init__(self, top: Path, plan: MakeJobs) -> None:
        self.top, self.plan = top, plan

    def ask(self, search: Sequence[Sequence[str]], confirm: Any = True, **more: Any) -> Request:
        request = requested(self.top, self.plan, search, confirm, **more)
        check(request, force=False)
        return request

    def run(self, search: Sequence[Sequence[str]], confirm: Any = True, phases: int = 2, **more: Any) -> State:
        """Run the search and, if there are two phases, the confirmation."""
        request = self.ask(search, confirm, **more)
        for phase in (SEARCH, CONFIRM)[:phases]:
            write_results([job for job in state_by_disk(request).phases[phase] if job.status() is None], by_rate)
        state = state_by_disk(request)
        records.write(request, state, "a command")
        return state

    def rates(self) -> dict[str, float]:
        """Return the selected learning rates of adam by seed."""
        return {seed: of.configuration["optim.lr"] for seed, of in self.selections().items()}

    def selections(self) -> dict[str, Selection]:
        return read_choices(self.top / CHOICES_FILE)["he / adam"]


def test_sweep_until_decided_with_unequal_candidates_raises(tmp_path: Path) -> None:
    """Otherwise selections of an earlier and wider command would be compared with narrower ones."""
    with sweep(tmp_path) as here:
        here.run(jobs((0.1, 0.2, 0.3), (0, 1, 2)), phases=1)
        with pytest.raises(UserError, match="expected the same candidates of he / adam for all seeds"):
            here.run(jobs((0.1, 0.2), (0, 1, 2)), sequential=SIX)
        assert here.run(jobs((0.1, 0.2, 0.3), (0, 1, 2)), sequential=SIX).looks is not None


def test_sweep_narrower_command_confirms_recorded_selection(tmp_path: Path) -> None:
    with sweep(tmp_path) as here:
        wide = [*jobs((0.1, 0.2), (0,), "optim.weight_decay=0.0"), *jobs((0.1,), (0,), "optim.weight_decay=0.1")]
        here.run(wide, phases=1)
        state = here.run(jobs((0.1, 0.2), (0,), "optim.weight_decay=0.0"))
        assert [job.config["optim"]["lr"] for job in state.phases[CONFIRM]] == [0.2, 0.2]
        assert here.selections()["0"].configuration == {"optim.lr": 0.2, "optim.weight_decay": 0.0}


def test_sweep_select_once_with_another_key_keeps_confirmations(tmp_path: Path) -> None:
    with sweep(tmp_path) as here:
        here.run(jobs((0.1, 0.2), (1,)), {"seed": [5, 6]}, select=ONCE)
        wider = [*jobs((0.1, 0.2), (1,)), *jobs((0.1,), (1,), "optim.weight_decay=0.1")]
        here.run(wider, {"seed": [8]}, select=ONCE)
        assert {*here.selections()["all"].confirmed} == {5, 6, 8}


def test_sweep_with_other_values_extends_the_search(tmp_path: Path) -> None:
    with sweep(tmp_path) as here:
        here.run(jobs((0.1, 0.2), (0, 1)))
        before = here.selections()
        here.run(jobs((0.1, 0.3), (0, 1)))
        assert here.rates() == {"0": 0.2, "1": 0.3}
        assert [len(of.candidates) for of in here.selections().values()] == [3, 3]
        assert here.selections()["0"].confirmed == before["0"].confirmed
    ((_, comparison),) = compare_sweeps([tmp_path])[1].items()
    assert comparison.runs["phase"].value_counts().to_dict() == {"search": 12, "confirm": 4}


@pytest.mark.parametrize("select", [EACH, ONCE])
def test_selection_excludes_candidates_of_older_code(tmp_path: Path, select: str) -> None:
    with sweep(tmp_path) as here:
        here.run(jobs((0.05, 0.1, 0.2), (0, 1)), select=select)
        for path in tmp_path.glob(f"*lr0.2_*/{RUN_FILE}"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"code": {"mine": "a" * 64}}))
        here.run(jobs((0.05, 0.1), (0, 1)), select=select)
        assert {*here.rates().values()} == {0.1}


def test_confirm_listed_seeds_stay_paired_with_search_seeds(tmp_path: Path) -> None:
    with sweep(tmp_path) as here:
        here.run(jobs((0.1, 0.2), (1, 2)), {"seed": [10, 11]})
        here.run(jobs((0.1, 0.2), (0, 1, 2)), {"seed": [10, 11, 12]})
        assert {seed: [*of.confirmed] for seed, of in here.selections().items()} == {"0": [12], "1": [10], "2": [11]}
        with pytest.raises(UserError, match=r"seed=10: expected another seed\. It confirms that of seed 1 in "):
            here.ask(jobs((0.1, 0.2), (3,)), {"seed": [10]})
        with pytest.raises(
            UserError, match=r"^seed=12: expected another search seed\. This one confirms a selection in "
        ):
            here.ask(jobs((0.1, 0.2), (12,)), {"seed": [20]})


def test_seeds_of_added_replicates_avoid_listed_ones(tmp_path: Path) -> None:
    with planning(tmp_path) as plan:
        search = plan(jobs((0.1,), (0, 1)))
    for listed in ([2, 1_000_004], [2, 4]):
        assert seeds_of(search, Confirmation(listed), SIX, EACH).all == [0, 1, 3, *([5, 6, 7])]
    assert seeds_of(search, read(True), SIX, EACH).all == [0, 1, 2, 3, 4, 5]


def test_check_confirm_invalid_for_some_candidates_raises(tmp_path: Path) -> None:
    search = [["optim=adam", f"model.batch_norm={norm}", "seed=0"] for norm in ("false", "true")]
    with (
        sweep(tmp_path) as here,
        pytest.raises(UserError, match=r"data\.train_size=1: expected at least 2, since BatchNorm needs"),
    ):
        here.ask(search, {"data.train_size": 1})


def test_dry_run_with_independently_varied_seeds_says_select_once(tmp_path: Path) -> None:
    search = [
        ["optim=adam", f"optim.lr={lr}", f"seeds.weights={weights}", f"seeds.batches={batches}"]
        for lr in (0.1, 0.2)
        for weights in (0, 1)
        for batches in (0, 1)
    ]
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, search)
        outline = "\n".join(dry_run.describe(request, state_by_disk(request), request.search))
    assert "optim.lr: 2 candidates in each cell; one selection per cell, by the mean over seeds" in outline


def candidate(lr: float, runs: Sequence[Path]) -> Candidate:
    return Candidate(configuration={"optim.lr": lr}, accuracy=0.5, loss=0.5, jobs=[run.name for run in runs])


def confirmed(write_run: Write, top: Path) -> Path:
    """Write a sweep of adam and sgd with two rates, confirmed for adam only."""
    choices: dict[str, dict[str, Selection]] = {}
    for optim in ("adam", "sgd"):
        for seed in (0, 1, 2):
            found = {lr: write_run(optim=optim, lr=lr, seed=seed, test=[0.1, 0.5 + lr]) for lr in (0.1, 0.2)}
            fresh: dict[int, str] = {}
            if optim == "adam":
                fresh[10 + seed] = write_run(lr=0.2, seed=10 + seed, test=[0.1, 0.6 + seed / 1e3]).name
            choices.setdefault(f"he / {optim}", {})[str(seed)] = Selection(
                configuration={"optim.lr": 0.2},
                candidates=[candidate(lr, [run]) for lr, run in sorted(found.items(), reverse=True)],
                confirmed=fresh,
            )
    write_choices(top / "sweep", choices)
    return top / "sweep"


def test_compared_selections_are_those_of_the_scored_runs(write_run: Write, tmp_path: Path) -> None:
    """A cell is searched without confirmation by one sweep and run by another: the report scores the latter."""
    here = confirmed(write_run, tmp_path)
    for lr in (0.5, 0.6):
        for seed in (0, 1, 2):
            write_run(optim="sgd", lr=lr, seed=seed, test=[0.1, 0.7 - lr / 10]).rename(tmp_path / f"{lr}{seed}")
    ((_, comparison),) = compare_sweeps([here, *(tmp_path / f"{lr}{s}" for lr in (0.5, 0.6) for s in (0, 1, 2))])[
        1
    ].items()
    row = comparison.summary.set_index("cell").loc["he / sgd"]
    assert (row["optim.lr"], row["selected"], row["n"]) == (0.5, "3/3", 3)


def test_answer_without_search_of_the_best_cell_names_it(write_run: Write, tmp_path: Path) -> None:
    here = confirmed(write_run, tmp_path)
    for selection in read_choices(here / CHOICES_FILE)["he / adam"].values():
        for job in selection.searched:
            (here / job / RUN_FILE).unlink()
    ((_, comparison),) = compare_sweeps([here])[1].items()
    assert answer(comparison)[0].startswith("he / adam scored highest")


@pytest.mark.parametrize("seed", ["-1", "007", "x", " 1", "1.0"])
def test_read_choices_invalid_seed_raises(tmp_path: Path, seed: str) -> None:
    def selection(confirmed: str) -> dict[str, Any]:
        return {"configuration": {}, "candidates": [], "confirmed": {confirmed: "a"}}

    for content in ({seed: selection("5")}, {"0": selection(seed)}):
        (tmp_path / CHOICES_FILE).write_text(json.dumps({"x": content}))
        with pytest.raises(Unreadable):
            read_choices(tmp_path / CHOICES_FILE)
