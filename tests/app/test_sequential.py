"""Sequential testing: levels, verdicts of interim analyses, active cells, and sweeps that add seeds."""

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from mnist_mlp.analysis.interim import conduct_analysis, repeat_analyses
from mnist_mlp.app import records
from mnist_mlp.app.confirm import MakeJobs
from mnist_mlp.app.sequential import check_same_jobs, read
from mnist_mlp.app.state import Request, state_of
from mnist_mlp.app.sweep import check
from mnist_mlp.base.choices import CHOICES_FILE
from mnist_mlp.base.errors import ConfigError, UserError
from mnist_mlp.base.interim import LOOKS_FILE, InterimRecord, SequentialPlan, SequentialRecord, read_looks, write_looks
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import CONFIRM, EACH, ONCE, SEARCH, SEQUENTIAL, SWEEP_FILE
from mnist_mlp.report import compare_sweeps, report_on
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.method import method
from mnist_mlp.report.text.verdicts import full_verdicts
from mnist_mlp.stats import sequential
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.sequential import alpha_spent, interim_analysis, interim_levels, interim_schedule
from mnist_mlp.sweeps.jobs import Job
from tests.helpers.commands import IN_PROCESS, NO_REPORT, SMALLER, Command
from tests.helpers.runs import Write
from tests.helpers.sweeping import planning, requested, state_by_disk, swept, write_results

UNTIL = ("hydra.sweeper.until_decided=true", "hydra.sweeper.max_seeds=7", "hydra.sweeper.batch=2")
LEVEL = 0.01
NINE = SequentialPlan(margin=None, max_seeds=9, batch=2)


def looks_of(
    plan: SequentialPlan, given: Sequence[int], jobs: Sequence[str], looks: Sequence[InterimRecord]
) -> SequentialRecord:
    return SequentialRecord(plan=plan, given=given, jobs=jobs, looks=looks)


@pytest.mark.parametrize(
    ("shares", "bounds"),
    [
        # Published bounds of five equally spaced analyses, two-sided, at 5%.
        ((0.2, 0.4, 0.6, 0.8, 1), (4.877, 3.357, 2.680, 2.290, 2.031)),
        ((1,), (1.960,)),
    ],
)
def test_interim_levels_equal_published_lan_demets_bounds(shares: Sequence[float], bounds: Sequence[float]) -> None:
    assert [-ndtri(level / 2) for level in interim_levels(shares, 0.05)] == pytest.approx(bounds, abs=5e-4)


@pytest.mark.parametrize(("looks", "tests"), [(10, 1), (4, 6), (46, 1)])
def test_interim_levels_simulated_error_equals_alpha_spent(looks: int, tests: int) -> None:
    shares = [0.1 + 0.9 * look / (looks - 1) for look in range(looks)]
    steps = np.random.default_rng(0).normal(size=(40_000, looks)) * np.sqrt(np.diff(shares, prepend=0))
    z = np.abs(steps.cumsum(axis=1)) / np.sqrt(shares)
    bounds = -ndtri(np.asarray(interim_levels(shares, 0.2, tests), dtype=float) / 2)
    for look in {0, looks // 2, looks - 1}:
        expected = 1 - (1 - alpha_spent(shares[look], 0.2)) ** (1 / tests)
        crossed = (z[:, : look + 1] > bounds[: look + 1]).any(axis=1).mean()
        assert crossed == pytest.approx(expected, abs=4 * np.sqrt(expected / len(z)))


def test_interim_levels_of_several_tests_have_sidak_correction() -> None:
    assert interim_levels([1], 0.05, 6) == pytest.approx([1 - 0.95 ** (1 / 6)])


def test_interim_levels_of_148_analyses_equal_finer_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [seeds / 150 for seeds in range(3, 151)]
    usual = interim_levels(shares, 0.05)
    monkeypatch.setattr(sequential, "SPACING", 2 * sequential.SPACING)
    assert usual == pytest.approx(interim_levels(shares, 0.05), rel=1e-6)


def test_interim_levels_strictest_analysis_is_finite() -> None:
    level = interim_levels([k / 1000 for k in (3, 4, 1000)], 0.05)[0]
    assert 0 < level < 1e-30
    pairs, _ = compare_pairs(
        scores(a=NOISE, b=NOISE[::-1], c=NOISE[1:] + NOISE[:1], d=[1 + n for n in NOISE]), 10_000, level=level
    )
    assert np.isfinite(pairs[["ci_low", "ci_high", "p_corrected"]]).all(axis=None)


def test_interim_schedule_runs_from_initial_to_maximum_seeds() -> None:
    assert [size for size, _ in interim_schedule(5, 5, 50, 2)] == list(range(5, 51, 5))
    assert [size for size, _ in interim_schedule(1, 1, 5, 2)] == [3, 4, 5]
    assert [size for size, _ in interim_schedule(2, 10, 7, 2)] == [7]
    # Three cells have three pairs, each of which gets about a third of the level of the single pair of two cells.
    one, three = (np.array([level for _, level in interim_schedule(5, 5, 20, cells)]) for cells in (2, 3))
    assert one[-1] / 4 < three[-1] < one[-1] / 2


def scores(**cells: Sequence[float]) -> pd.DataFrame:
    """Return accuracies from points above 90%; a cell with fewer seeds has the first ones."""
    longest = max(map(len, cells.values()))
    rows = {cell: [*(0.9 + value / 100 for value in of), *[np.nan] * (longest - len(of))] for cell, of in cells.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def look(seeds: int, level: float = LEVEL, cells: Sequence[str] = ("a", "b")) -> InterimRecord:
    return InterimRecord(list(range(seeds)), level, cells, "", {})


NOISE = (0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.08, -0.08)


def test_judge_looks_decided_pair_keeps_its_verdict() -> None:
    first = [3 + noise for noise in NOISE[:4]]
    table = scores(a=[*first, *[-3 + noise for noise in NOISE[4:]]], b=[0.0] * 8)
    assert compare_pairs(table)[0]["verdict"].tolist() != ["better"]
    pairs, cells = repeat_analyses(table, [look(4), look(8)])
    assert (pairs["verdict"].tolist(), pairs["n"].tolist(), cells) == (["better"], [4], 2)
    assert pairs["difference"].tolist() == pytest.approx([0.03])
    pairs, _ = repeat_analyses(table, [look(4, 1e-9), look(8)])
    assert pairs["n"].tolist() == [8]
    assert pairs["verdict"].tolist() == ["inconclusive"]


def test_judge_looks_tests_at_the_level_of_the_analysis() -> None:
    table = scores(a=[0.2 + noise for noise in NOISE], b=[0.0] * 8)
    (p,) = compare_pairs(table)[0]["p"]
    for level, verdict in ((p * 1.01, "better"), (p * 0.99, "inconclusive")):
        pairs, _ = repeat_analyses(table, [look(8, level)])
        assert pairs["verdict"].tolist() == [verdict]
        assert (pairs["p_corrected"] < 0.05).tolist() == [verdict == "better"]
        assert (pairs["ci_low"] > 0).tolist() == [verdict == "better"]


def test_judge_looks_skips_analysis_with_missing_seeds() -> None:
    table = scores(a=[1 + 10 * noise for noise in NOISE], b=[0.0] * 4)
    strict, lax = repeat_analyses(table, [look(4, 1e-9), look(8, 0.9)])[0], repeat_analyses(table, [look(4, 0.9)])[0]
    assert strict[["verdict", "n"]].to_numpy().tolist() == [["inconclusive", 4]]
    assert lax["verdict"].tolist() == ["better"]


def test_judge_looks_without_variance_uses_test_images() -> None:
    table = scores(a=[0.0] * 8, b=[2.0] * 8)
    assert repeat_analyses(table, [look(8)])[0]["reason"].tolist() == ["no variance"]
    assert repeat_analyses(table, [look(8)], images=10_000)[0]["verdict"].tolist() == ["worse"]
    found, on, _ = conduct_analysis(table, look(8), None, images=10_000)
    assert (found.best, found.left, on) == ("b", {"a": "worse"}, [])


def test_interim_schedule_of_4_cells_corrects_for_6_pairs() -> None:
    assert [level for _, level in interim_schedule(5, 5, 20, 4)] == interim_levels([0.25, 0.5, 0.75, 1], 0.05, 6)


def test_judge_looks_interval_within_margin_is_equivalent() -> None:
    table = scores(a=NOISE, b=[0.0] * 8)
    pairs, _ = repeat_analyses(table, [look(8)])
    assert pairs["verdict"].tolist() == ["inconclusive"]
    farthest = float(max(-pairs["ci_low"].min(), pairs["ci_high"].max()))
    for margin, verdict in (
        (farthest * 1.001, "equivalent"),
        (farthest * 0.999, "inconclusive"),
    ):
        assert repeat_analyses(table, [look(8)], margin=margin)[0]["verdict"].tolist() == [verdict]
    real = scores(a=[1 + noise for noise in NOISE], b=[0.0] * 8)
    verdicts = repeat_analyses(real, [look(8)], margin=0.5)[0]["verdict"]
    assert verdicts.tolist() == ["better"]  # significant, although within the margin


def test_interim_analysis_drops_worse_cells_with_their_verdicts() -> None:
    table = scores(a=[0.05] * 8, b=NOISE, c=[-3 + noise for noise in NOISE[::-1]])
    found = interim_analysis(table, LEVEL, None, 10_000)
    assert (found.best, found.dropped, found.active) == ("a", ["c"], ["a", "b"])
    # Dropped cells keep their verdicts in later analyses, and the best cell is an active one.
    later = scores(a=[*[0.05] * 8, -0.5, -0.5], b=[*NOISE, 0.1, 0.1])
    found = interim_analysis(later, LEVEL, found.pairs, 10_000)
    assert (found.best, found.dropped, found.active) == ("b", [], ["a", "b"])
    verdicts = found.pairs.set_index(["a", "b"])["verdict"]
    assert (verdicts["a", "c"], verdicts["b", "c"]) == ("better", "better")


def test_interim_analysis_equivalent_cell_is_active_until_all_is_decided() -> None:
    # A cell equivalent to the best may still become the best: it stays active while another pair is inconclusive.
    wide = scores(a=NOISE, b=NOISE[::-1], c=[30 * noise for noise in NOISE])
    found = interim_analysis(wide, LEVEL, None, 10_000, margin=0.01)
    assert (found.dropped, found.active) == ([], ["a", "b", "c"])
    found = interim_analysis(scores(a=NOISE, b=NOISE[::-1]), LEVEL, None, 10_000, margin=0.05)
    assert (found.dropped, found.active) == ([], [])


def test_interim_analysis_without_variance_drops_no_cell() -> None:
    found = interim_analysis(scores(a=[1.0] * 8, b=[0.0] * 8), LEVEL)
    assert found.pairs["reason"].eq("no variance").all()
    assert (found.dropped, found.active) == ([], ["a", "b"])


def test_interim_analysis_bounds_limit_intervals_only_if_given() -> None:
    table = 100 * scores(a=NOISE[:3], b=[10 * noise for noise in NOISE[:3]])
    free, bounded = (interim_analysis(table, 1e-6, bounds=bounds).pairs for bounds in (None, (0.0, 100.0)))
    assert free["ci_high"].item() > 100
    assert (bounded["ci_low"].item(), bounded["ci_high"].item()) == (-100, 100)


def test_look_at_uses_active_cells_only() -> None:
    table = scores(a=[0.05] * 8, b=NOISE, c=[-3 + noise for noise in NOISE[::-1]])
    found, active, pairs = conduct_analysis(table, look(8, cells=("a", "b", "c")), None, 10_000)
    assert (found.best, found.left, active) == ("a", {"c": "worse"}, ["a", "b"])
    later = scores(a=[*[0.05] * 8, -0.5, -0.5], b=[*NOISE, 0.1, 0.1], c=[9.0] * 10)
    found, active, pairs = conduct_analysis(later, look(10, cells=("a", "b")), pairs, 10_000)
    assert (found.best, found.left, active) == ("b", {}, ["a", "b"])
    assert pairs.set_index(["a", "b"])["verdict"]["a", "c"] == "better"


def test_look_at_uses_seeds_of_its_analysis_only() -> None:
    table = scores(a=[*NOISE[:4], 5, 5, 5, 5], b=[1 + noise for noise in NOISE[3::-1]] + [0.0] * 4)
    assert conduct_analysis(table, look(4), None, 10_000)[0].best == "b"
    assert conduct_analysis(table, look(8), None, 10_000)[0].best == "a"


def test_judge_looks_tests_active_cells_only() -> None:
    table = scores(a=[0.3 + noise for noise in NOISE], b=[0.0] * 8, c=[0.1 - noise for noise in NOISE])
    pairs, cells = repeat_analyses(table, [look(4, 1e-9, ("a", "b", "c")), look(8, 0.9, ("a", "b"))])
    assert cells == 3  # cells at the first analysis, of which one was dropped later
    assert pairs.set_index(["a", "b"])["n"].to_dict() == {("a", "b"): 8, ("a", "c"): 4, ("b", "c"): 4}


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
        write_looks(tmp_path, looks_of(NINE, seeds, [job.directory.name for job in before], [taken]))
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
        looks = looks_of(NINE, [0, 1, 2], [job.directory.name for job in request.search], [])
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


def test_compared_by_reordered_keys_gives_equal_verdicts(analyzed: Path) -> None:
    usual, turned = (compare_sweeps([analyzed], by=by)[1]["mnist"] for by in (["init", "optim"], ["optim", "init"]))
    assert turned.pairs["verdict"].tolist() == usual.pairs["verdict"].tolist()
    assert turned.pairs["a"].tolist()[0] == "adam / lecun"


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
        ({"margin": 1, "until_decided": False}, "expected null, or hydra.sweeper.until_decided=true"),
    ],
)
def test_read_invalid_settings_raises(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        read(SETTINGS | given)


def test_read_settings_returns_plan_or_none() -> None:
    assert read(SETTINGS | {"margin": 0.5}) == SequentialPlan(margin=0.005, max_seeds=50, batch=5)
    assert read(SETTINGS | {"until_decided": False}) is None


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
        write_looks(tmp_path, looks_of(same, [0], here, [look(3, cells=("he / adam", "he / sgd"))]))
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
        write_looks(tmp_path, looks_of(NINE, [5, 6], [job.directory.name for job in plan(TWO)], [taken]))
        with pytest.raises(UserError, match=message):
            checked(tmp_path, plan, searched, NINE, seed=[5, 6])


def test_check_before_first_interim_analysis_another_plan_raises(tmp_path: Path) -> None:
    write_looks(tmp_path, looks_of(NINE, [0], [], []))
    message = r"max_seeds=12: .* has interim analyses with 9"
    with planning(tmp_path) as plan, pytest.raises(UserError, match=message):
        checked(tmp_path, plan, TWO, replace(NINE, max_seeds=12))


def test_check_damaged_looks_file_raises_with_hint(tmp_path: Path) -> None:
    (tmp_path / LOOKS_FILE).write_text("{}")
    with planning(tmp_path) as plan, pytest.raises(UserError, match=r"looks.json: damaged .* Remove the file"):
        checked(tmp_path, plan, TWO, replace(NINE, margin=0.005))


@pytest.fixture
def analyzed(write_run: Write, tmp_path: Path) -> Path:
    """Sweep of two initializations and two optimizers, analyzed with 3 and 6 seeds; sgd was dropped after the first."""
    jobs = []
    for init, best in (("he", 0.95), ("lecun", 0.9501)):
        for optim, seeds in (("adam", 6), ("sgd", 3)):
            for seed in range(seeds):
                accuracy = best - 0.9 * (optim == "sgd") + NOISE[seed] * (1 + (init == "he")) / 1000
                jobs.append(write_run(init=init, optim=optim, seed=seed, test=[0.1, accuracy]).name)
    cells = [f"{init} / {optim}" for init in ("he", "lecun") for optim in ("adam", "sgd")]
    (few, first), (many, second) = interim_schedule(3, 3, 6, len(cells))
    looks = [look(few, first, cells), look(many, second, ["he / adam", "lecun / adam"])]
    write_looks(
        tmp_path / "sweep", looks_of(SequentialPlan(margin=0.0004, max_seeds=6, batch=3), [0, 1, 2], jobs, looks)
    )
    return tmp_path / "sweep"


def test_report_of_looks_gives_sequential_verdicts(analyzed: Path, write_run: Write) -> None:
    stray = write_run(init="he", optim="adam", seed=99, test=[0.1, 0.2])
    results, sections = compare_sweeps([analyzed])
    assert [(p.run, "not one of the jobs in looks.json" in p.why) for p in results.problems] == [(str(stray), True)]
    (comparison,) = sections.values()
    assert comparison.looks is not None
    pairs = comparison.pairs.set_index(["a", "b"])
    assert list(pairs.loc[("lecun / adam", "he / adam"), ["verdict", "n"]]) == ["equivalent", 6]
    assert pairs["verdict"]["lecun / adam", "lecun / sgd"] == "better"
    assert "equivalent within 0.04 points" in full_verdicts(comparison, comparison.pairs)
    said = answer(comparison)[0]
    assert "It is better than 2 of 3 other cells, and equivalent within 0.04 points to he / adam (n = 6)." in said
    (_, first), (_, second) = interim_schedule(3, 3, 6, 4)
    how = f"or had 6. Interim analyses took place after 3 (p below {first:.2g}), 6 (p below {second:.2g}) seeds."
    assert how in " ".join(method(comparison))
    assert comparison.effects["n"].tolist() == [3, 3, 3]  # the seeds that all cells share
    assert "Unequal seeds" not in [note.topic for note in comparison.notes]


def test_compared_analysis_with_lost_run_is_not_tested(analyzed: Path) -> None:
    (min(analyzed.glob("*/")) / RUN_FILE).write_text("{")
    (comparison,) = compare_sweeps([analyzed])[1].values()
    assert set(comparison.pairs["reason"]) == {"lost run"}


def test_compared_outside_the_sequential_plan_is_not_tested(analyzed: Path, write_run: Write, tmp_path: Path) -> None:
    ((_, by_optim),) = compare_sweeps([analyzed], by=["optim"])[1].items()
    assert by_optim.pairs["reason"].tolist() == ["outside the sequential plan"]
    assert by_optim.pairs[["p", "ci_low"]].isna().all(axis=None)
    other = write_run(init="he", optim="radam", seed=0, test=[0.1, 0.9]).rename(tmp_path / "other")
    ((_, both),) = compare_sweeps([analyzed, other])[1].items()
    assert both.pairs["reason"].eq("outside the sequential plan").all()
    assert both.effects.empty


EMPTY = {"margin": None, "max_seeds": 6, "batch": 3, "given": [0, 1, 2], "jobs": [], "looks": []}
FIRST = {"seeds": [0, 1, 2], "level": 0.1, "cells": ["a", "b"], "best": "a", "left": {}}


@pytest.mark.parametrize(
    "content",
    [
        {"margin": "wide"},
        EMPTY | {"margin": 2},
        EMPTY | {"batch": math.inf},
        EMPTY | {"batch": 0},
        EMPTY | {"max_seeds": 10**9},
        EMPTY | {"given": []},
        EMPTY | {"looks": [FIRST | {"cells": ["a", "a"]}]},
        EMPTY | {"looks": [FIRST | {"seeds": [0, 1, 1]}]},
        EMPTY | {"looks": [FIRST | {"level": 0}]},
        EMPTY | {"looks": [FIRST | {"level": 1}]},
    ],
)
def test_compared_damaged_looks_file_is_named_and_nothing_tested(analyzed: Path, content: dict[str, Any]) -> None:
    (analyzed / LOOKS_FILE).write_text(json.dumps(content))
    results, ((_, comparison),) = compare_sweeps([analyzed])[0], compare_sweeps([analyzed])[1].items()
    assert [(p.run, p.why.partition(":")[0]) for p in results.problems] == [(str(analyzed), LOOKS_FILE)]
    assert comparison.pairs["reason"].eq("no interim analysis").all()
    assert comparison.pairs["p"].isna().all()


def test_compared_looks_that_differ_from_the_plan_test_nothing(analyzed: Path) -> None:
    found = read_looks(analyzed / LOOKS_FILE)
    first, last = found.looks
    ((_, alone),) = interim_schedule(3, 3, 3, len(first.cells))
    for others in (
        replace(found, looks=[]),
        replace(found, looks=[replace(first, level=0.04)]),
        replace(found, looks=[replace(first, level=1.01 * first.level)]),
        replace(found, looks=[first, last, last]),
        replace(
            found, looks=[replace(first, level=alone)], plan=replace(found.plan, max_seeds=3)
        ),  # the number of initial seeds
    ):
        write_looks(analyzed, others)
        ((_, comparison),) = compare_sweeps([analyzed])[1].items()
        assert comparison.pairs["reason"].eq("no interim analysis").all()


def test_compared_with_another_data_set_keeps_verdicts_of_looks(
    analyzed: Path, write_run: Write, tmp_path: Path
) -> None:
    before = compare_sweeps([analyzed])[1]["mnist"].pairs
    other = write_run(data="digits", seed=5, more_seeds={"weights": 1}).rename(tmp_path / "other")
    run = json.loads((other / RUN_FILE).read_text())
    run["config"]["seeds"] = {"weights": 1}
    (other / RUN_FILE).write_text(json.dumps(run))
    pd.testing.assert_frame_equal(compare_sweeps([analyzed, other])[1]["mnist"].pairs, before)


def test_report_on_single_jobs_of_a_sweep_with_looks_raises(analyzed: Path) -> None:
    with pytest.raises(UserError, match=f"single job of a sweep with looks.json. Pass {re.escape(str(analyzed))} "):
        report_on(sorted(analyzed.glob("*/")))
    (analyzed / "deep/er").mkdir(parents=True)
    with pytest.raises(UserError, match=f"single job of a sweep with looks.json. Pass {re.escape(str(analyzed))} "):
        report_on([analyzed / "deep/er"])


def test_notes_of_a_sweep_stopped_early_say_so(analyzed: Path) -> None:
    def notes() -> list[str]:
        (comparison,) = compare_sweeps([analyzed])[1].values()
        return [note.topic for note in comparison.notes]

    assert "Stopped before all pairs were decided" not in notes()
    found = read_looks(analyzed / LOOKS_FILE)
    write_looks(analyzed, replace(found, looks=[replace(found.looks[0], best="lecun / adam")]))
    assert "Stopped before all pairs were decided" in notes()


def test_compared_failed_run_outside_looks_counts_as_failed(analyzed: Path, write_run: Write) -> None:
    write_run(seed=7, test=[0.1, 0.2], status="failed", reason="OutOfMemory: no more")
    results, _ = compare_sweeps([analyzed])
    assert results.problems == []
    assert (results.runs["status"] == "failed").sum() == 1
