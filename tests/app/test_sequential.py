"""Sweeps that add seeds until all is decided: seeds, checks, records and resumption."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_mlp.app import records
from mnist_mlp.app.confirm import MakeJobs
from mnist_mlp.app.sequential import check_same_jobs, read, read_margin
from mnist_mlp.app.state import Request, state_of
from mnist_mlp.app.sweep import check
from mnist_mlp.base.choices import CHOICES_FILE
from mnist_mlp.base.errors import ConfigError, UserError
from mnist_mlp.base.interim import LOOKS_FILE, InterimRecord, SequentialPlan, SequentialRecord, read_looks, write_looks
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import CONFIRM, EACH, ONCE, SEARCH, SEQUENTIAL, SWEEP_FILE
from mnist_mlp.report import compare_sweeps
from mnist_mlp.stats.sequential import interim_schedule
from mnist_mlp.sweeps.jobs import Job
from tests.helpers.commands import IN_PROCESS, NO_REPORT, SMALLER, Command
from tests.helpers.interim import LEVEL, NOISE, look
from tests.helpers.sweeping import planning, requested, state_by_disk, swept, write_results

UNTIL = ("hydra.sweeper.until_decided=true", "hydra.sweeper.max_seeds=7", "hydra.sweeper.batch=2")
NINE = SequentialPlan(margin=None, max_seeds=9, batch=2)


def noisy(job: Job) -> float:
    """Return an accuracy that rises with the learning rate; the difference of the optimizers is not significant."""
    is_sgd = job.choices["optim"] == "sgd"
    return float(0.8 + job.config["optim"]["lr"] / 10 + NOISE[job.config["seed"] % 8] * (1 + is_sgd) / 100)


def test_state_adds_seeds_unused_by_search_and_writes_nothing(tmp_path: Path) -> None:
    search = [[*job, f"optim.lr={lr}", "seeds.weights=8"] for job in TWO for lr in (0.1, 0.2)]
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, search, {"seed": [5, 6, 7]}, NINE, ONCE)
        for phase in (SEARCH, CONFIRM):
            write_results(state_by_disk(request).phases[phase], noisy)
        state = state_by_disk(request)
        assert {job.config["seed"] for job in state.phases[SEQUENTIAL]} == {9, 10}  # the search used 8
    assert all(path.is_dir() for path in tmp_path.iterdir())  # job directories only
    assert state.choices is not None
    confirmed = [job for of in state.choices.values() for one in of.values() for job in one.confirmed.values()]
    assert sorted(confirmed) == sorted(job.directory.name for job in state.jobs if job not in request.search)


def test_check_same_jobs_other_configurations_raises(tmp_path: Path) -> None:
    seeds = [5, 6, 7]
    with planning(tmp_path) as plan:
        before, now = (
            plan([[*job, f"optim.lr={lr}", f"seed={seed}"] for job in TWO for seed in seeds]) for lr in (0.1, 0.2)
        )
        taken = InterimRecord(seeds, LEVEL, ("he / adam", "he / sgd"), "", {})
        write_looks(
            tmp_path,
            SequentialRecord(plan=NINE, given=seeds, jobs=[job.directory.name for job in before], looks=[taken]),
        )
        check_same_jobs(tmp_path, before)
        with pytest.raises(UserError, match=r"6 jobs differ from those of earlier interim analyses, .* he_.*_lr0\.2_"):
            check_same_jobs(tmp_path, now)


def test_sweep_with_missing_results_skips_analysis_and_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    jobs = [[*job, f"seed={seed}"] for job in TWO for seed in range(3)]
    search = [[*job, f"optim.lr={lr}", "seed=5"] for job in TWO for lr in (0.1, 0.2)]
    for name, overrides, confirmation, expected in (
        ("plain", jobs, {}, "6 jobs have no result; the interim analysis needs all of them"),
        (
            "search",
            search,
            {"seed": [0, 1]},
            "4 jobs of the search have no result; the selection needs all of them",
        ),
    ):
        with planning(tmp_path / name) as plan:
            swept(requested(tmp_path / name, plan, overrides, confirmation, NINE, ONCE), lambda job: None)
        assert expected in caplog.text
        assert "To resume: " in caplog.text
    assert read_looks(tmp_path / "plain" / LOOKS_FILE).looks == []  # so that no report tests before an analysis
    assert not (tmp_path / "search" / LOOKS_FILE).exists()
    assert not (tmp_path / "search" / CHOICES_FILE).exists()


def test_report_before_first_interim_analysis_tests_nothing(tmp_path: Path) -> None:
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, [[*job, f"seed={seed}"] for job in TWO for seed in range(3)], {}, NINE)
        write_results(request.search, lambda job: 0.9 + (job.config["seed"] / 99 if is_sgd(job) else -0.5))
        assert compare_sweeps([tmp_path])[1]["digits"].pairs["verdict"].tolist() == ["better"]
        looks = SequentialRecord(
            plan=NINE, given=[0, 1, 2], jobs=[job.directory.name for job in request.search], looks=[]
        )
        write_looks(tmp_path, looks)
        assert compare_sweeps([tmp_path])[1]["digits"].pairs["reason"].tolist() == ["no interim analysis"]
        (tmp_path / LOOKS_FILE).unlink()  # as after a kill between the writes of two files
        records.write(request, state_of(request, lambda jobs: False), "a command")
        (tmp_path / LOOKS_FILE).unlink()
        assert compare_sweeps([tmp_path])[1]["digits"].pairs["reason"].tolist() == ["no interim analysis"]


def is_sgd(job: Job) -> bool:
    return job.choices["optim"] == "sgd"


class Killed(BaseException):
    """Simulated kill -9, which no handler of the sweep catches."""


@pytest.mark.parametrize(("select", "confirmation"), [(EACH, True), (ONCE, {"seed": [5, 6, 7]})])
def test_sweep_killed_repeatedly_leaves_equal_records(tmp_path: Path, select: str, confirmation: Any) -> None:
    """A search with confirmation and added seeds is killed after every third result, in all phases."""
    search = [[*job, f"optim.lr={lr}", f"seed={seed}"] for job in TWO for lr in (0.1, 0.2) for seed in (0, 1)]

    def swept_until_killed(request: Request, results: int) -> bool:
        left = iter(range(results))

        def result(job: Job) -> float:
            if next(left, None) is None:
                raise Killed
            return noisy(job)

        with suppress(Killed):
            swept(request, result)
            return False
        return True

    found, kills = [], 0
    for top, results in ((tmp_path / "undisturbed", 10**6), (tmp_path / "killed", 3)):
        with planning(top) as plan:
            request = requested(top, plan, search, confirmation, replace(NINE, max_seeds=5, batch=1), select)
            while swept_until_killed(request, results):
                kills += 1
        runs = sorted(path.parent.name for path in top.glob(f"*/{RUN_FILE}"))
        found.append({path.name: json.loads(path.read_text()) for path in top.glob("*.json")} | {"runs": runs})
    undisturbed, killed = found
    assert killed == undisturbed
    assert kills >= 5
    assert {SWEEP_FILE, CHOICES_FILE, LOOKS_FILE} < killed.keys()
    assert killed[SWEEP_FILE]["phases"].keys() == {SEARCH, CONFIRM, SEQUENTIAL}
    assert sum(map(len, killed[SWEEP_FILE]["phases"].values())) == len(killed["runs"])
    assert len(killed[LOOKS_FILE]["looks"]) == 3
    selections = killed[CHOICES_FILE]["he / adam"]
    assert list(selections) == (["0", "1", "2", "3", "4"] if select == EACH else ["all"])
    assert sum(len(one["confirmed"]) for one in selections.values()) == 5


def test_sweep_until_decided_adds_seeds_to_active_cells(command: Command, tmp_path: Path) -> None:
    arguments = (
        "-m",
        "optim=adam,sgd",
        "optim.lr=1e-4,1e-2",
        "seed=12",
        "epochs=1",
        *SMALLER,
        IN_PROCESS,
        "hydra.sweeper.select=once",
    )
    confirm = "hydra.sweeper.confirm={seed:[10,11],epochs:1}"
    done = command("run.py", *arguments, confirm, *UNTIL, "hydra.sweep.dir=multirun/here").stdout
    here = tmp_path / "multirun/here"
    found = read_looks(here / LOOKS_FILE)
    assert list(found.looks[0].seeds) == [10, 11, 13, 14]  # the search used 12
    assert [len(of.seeds) for of in found.looks] == [4, 6, 7][: len(found.looks)]
    assert [of.level for of in found.looks] == pytest.approx(
        [level for _, level in interim_schedule(2, 2, 7, 2)][: len(found.looks)]
    )
    for before, after in zip(found.looks, found.looks[1:], strict=False):
        assert set(before.cells) - set(after.cells) == set(before.left)
    assert re.findall(r"analysis with (\d+) seeds", done) == [str(len(of.seeds)) for of in found.looks]
    made: dict[str, list[int]] = {}
    for job in found.jobs:
        run = json.loads((here / job / RUN_FILE).read_text())
        made.setdefault(f"{run['choices']['init']} / {run['choices']['optim']}", []).append(run["config"]["seed"])
    for cell, seeds in made.items():
        assert sorted(seeds) == list([of for of in found.looks if cell in of.cells][-1].seeds)
    choices = json.loads((here / CHOICES_FILE).read_text())
    assert sorted(job for of in choices.values() for job in of["all"]["confirmed"].values()) == sorted(found.jobs)
    summary = pd.read_csv(tmp_path / "reports/here/summary.csv").set_index("optim")
    assert {f"he / {optim}": n for optim, n in summary["n"].items()} == {cell: len(of) for cell, of in made.items()}
    assert (
        "Seeds were added to each cell until it was worse than the best"
        in (tmp_path / "reports/here/report.md").read_text()
    )
    # After a kill in the middle of a batch, a resume ends with the same records.
    last = {name: (here / name).read_text() for name in (LOOKS_FILE, CHOICES_FILE)}
    early = [job for job in found.jobs if json.loads((here / job / RUN_FILE).read_text())["config"]["seed"] < 15]
    (here / found.jobs[-1] / RUN_FILE).unlink()
    write_looks(here, replace(found, jobs=early, looks=found.looks[:1]))
    again = command("run.py", *arguments, confirm, *UNTIL, "hydra.sweep.dir=multirun/here", NO_REPORT).stdout
    assert {name: (here / name).read_text() for name in last} == last
    assert [int(n) for n in re.findall(r"(\d+) to do", again)].count(1) == 1


SETTINGS = {"until_decided": True, "max_seeds": 50, "batch": 5, "margin": None}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"until_decided": "yes"}, "until_decided=yes: expected true or false"),
        ({"max_seeds": 0}, "max_seeds=0: expected a whole number from 1 to 1,000"),
        ({"max_seeds": 10**9}, "max_seeds=1000000000: expected a whole number from 1 to 1,000"),
        ({"batch": 2.5}, "batch=2.5: expected a whole number"),
        ({"margin": 0}, "margin=0: expected null or percentage points in (0, 100)"),
        ({"margin": "wide"}, "margin=wide: expected null or percentage points"),
        ({"margin": 100, "until_decided": False}, "margin=100: expected null or percentage points in (0, 100)"),
    ],
)
def test_read_invalid_settings_raises(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        read(SETTINGS | given)


def test_read_settings_returns_plan_or_none() -> None:
    assert read(SETTINGS | {"margin": 0.5}) == SequentialPlan(margin=0.005, max_seeds=50, batch=5)
    assert read(SETTINGS | {"until_decided": False, "margin": 0.5}) is None
    assert (read_margin(None), read_margin(0.5)) == (None, 0.005)


TWO = (["optim=adam"], ["optim=sgd"])


@pytest.mark.parametrize(
    ("jobs", "sequential", "words"),
    [
        ([["optim.lr=0.1"], ["optim.lr=0.2"], ["optim=sgd"]], NINE, "expected one configuration per cell"),
        ([["seed=0"], ["seed=1"]], NINE, "cells=1: expected 2 to 150"),
        (
            [[*job, f"seeds.weights={n}"] for job in TWO for n in (3, 4)],
            NINE,
            "seeds.weights: expected one value. Additional seeds",
        ),
        ([[*job, f"epochs={n}"] for job in TWO for n in (1, 2)], NINE, "epochs: expected one value"),
        (
            [[*job, f"seed={n}"] for job in TWO for n in range(4)],
            SequentialPlan(margin=None, max_seeds=4, batch=2),
            "Expected at least 5",
        ),
        (
            TWO,
            SequentialPlan(margin=None, max_seeds=2, batch=2),
            "max_seeds=2: each cell has 1 initially. Expected at least 3",
        ),
        (
            TWO,
            SequentialPlan(margin=0.003, max_seeds=9, batch=2),
            "margin=0.3: less than one of 299 test images. Expected at least 0.3345 points",
        ),
    ],
)
def test_check_undecidable_sweep_raises_before_training(
    tmp_path: Path, jobs: Sequence[Sequence[str]], sequential: SequentialPlan, words: str
) -> None:
    with planning(tmp_path) as plan, pytest.raises(UserError, match=re.escape(words)) as caught:
        check(requested(tmp_path, plan, jobs, {}, sequential), force=False)
    assert "\n" not in str(caught.value)


def test_check_until_decided_over_data_sets_raises(tmp_path: Path) -> None:
    with planning(tmp_path) as plan:
        jobs = plan(TWO)
        others = [replace(job, choices={**job.choices, "data": "mnist"}) for job in jobs]
        with pytest.raises(UserError, match="data: expected one value"):
            check(replace(requested(tmp_path, plan, TWO, {}, NINE), search=[*jobs, *others]), force=False)


def test_check_margin_of_one_image_passes(tmp_path: Path) -> None:
    with planning(tmp_path) as plan:
        jobs = [replace(job, test_images=300) for job in plan(TWO)]
        until = read(SETTINGS | {"margin": 100 / 300})  # a third has no exact binary representation
        check(replace(requested(tmp_path, plan, TWO, {}, until), search=jobs), force=False)


@pytest.mark.parametrize(
    ("confirmation", "words"),
    [
        ({"seed": [5, 6, 7, 8]}, "max_seeds=4: each cell has 4 initially. Expected at least 5"),
        ({"seed": [5, 6], "seeds.weights": [1]}, "seeds.weights=[1]: expected one seed"),
    ],
)
def test_check_confirm_that_leaves_no_seeds_to_add_raises(
    tmp_path: Path, confirmation: dict[str, list[int]], words: str
) -> None:
    jobs = [[*job, f"optim.lr={lr}"] for job in TWO for lr in (0.1, 0.2)]
    sequential = SequentialPlan(margin=None, max_seeds=4, batch=2)
    with planning(tmp_path) as plan, pytest.raises(UserError, match=re.escape(words)):
        check(requested(tmp_path, plan, jobs, confirmation, sequential, ONCE), force=False)


def checked(
    top: Path,
    plan: MakeJobs,
    jobs: Sequence[Sequence[str]],
    sequential: SequentialPlan | None,
    **confirmation: Sequence[int],
) -> None:
    """Check a command of one selection per cell before any training."""
    check(requested(top, plan, jobs, confirmation, sequential, ONCE), force=False)


def test_check_after_interim_analysis_another_plan_raises(tmp_path: Path) -> None:
    same = replace(NINE, margin=0.005)
    more, wider = replace(same, max_seeds=12), replace(same, margin=0.01)
    two_seeds = [[*job, f"seed={n}"] for job in TWO for n in (0, 1)]
    cells = "cells=he / adam, he / radam, he / sgd: .* has interim analyses with he / adam, he / sgd"
    with planning(tmp_path) as plan:
        here = [job.directory.name for job in plan(TWO)]
        write_looks(
            tmp_path,
            SequentialRecord(plan=same, given=[0], jobs=here, looks=[look(3, cells=("he / adam", "he / sgd"))]),
        )
        checked(tmp_path, plan, TWO, same)
        for others, sequential, words in (
            (TWO, more, "max_seeds=12: .* has interim analyses with 9"),
            (TWO, replace(same, batch=3), "batch=3: .* has interim analyses with 2"),
            (TWO, wider, "margin=1.0: .* has interim analyses with 0.5"),
            (two_seeds, same, r"seed=\[0, 1\]: .* has interim analyses with \[0\]"),
            ([*TWO, ["optim=radam"]], same, cells),
            (
                [[*job, "epochs=3"] for job in TWO],
                same,
                "2 jobs differ from those of earlier interim analyses, such as he_",
            ),
            (TWO, None, "interim analyses. Expected hydra.sweeper.until_decided=true again"),
        ):
            with pytest.raises(UserError, match=words):
                checked(tmp_path, plan, others, sequential)


def test_check_search_with_an_analyzed_seed_raises(tmp_path: Path) -> None:
    searched = [[*job, f"optim.lr={lr}", f"seed={n}"] for job in TWO for lr in (0.1, 0.2) for n in (0, 7)]
    message = r"\[5, 6, 8, 9\]: .* has interim analyses with \[5, 6, 7, 8\]"  # the search uses 7
    taken = InterimRecord([5, 6, 7, 8], LEVEL, ("he / adam", "he / sgd"), "", {})
    with planning(tmp_path) as plan:
        write_looks(
            tmp_path,
            SequentialRecord(plan=NINE, given=[5, 6], jobs=[job.directory.name for job in plan(TWO)], looks=[taken]),
        )
        with pytest.raises(UserError, match=message):
            checked(tmp_path, plan, searched, NINE, seed=[5, 6])


def test_check_before_first_interim_analysis_another_plan_raises(tmp_path: Path) -> None:
    write_looks(tmp_path, SequentialRecord(plan=NINE, given=[0], jobs=[], looks=[]))
    message = r"max_seeds=12: .* has interim analyses with 9"
    with planning(tmp_path) as plan, pytest.raises(UserError, match=message):
        checked(tmp_path, plan, TWO, replace(NINE, max_seeds=12))


def test_check_damaged_looks_file_raises_with_hint(tmp_path: Path) -> None:
    (tmp_path / LOOKS_FILE).write_text("{}")
    with planning(tmp_path) as plan, pytest.raises(UserError, match=r"looks.json: damaged .* Remove the file"):
        checked(tmp_path, plan, TWO, replace(NINE, margin=0.005))
