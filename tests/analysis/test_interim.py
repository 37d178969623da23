"""Interim analyses from records: verdicts, the report of a sweep that added seeds, and damaged records."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_mlp.analysis.interim import conduct_analysis, needs_more_seeds, rename_cells, repeat_analyses, withhold
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interim import LOOKS_FILE, InterimRecord, SequentialPlan, SequentialRecord, read_looks, write_looks
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.report import compare_sweeps, report_on
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.method import method
from mnist_mlp.report.text.verdicts import full_verdicts
from mnist_mlp.stats.pairs import NUMBERS, compare_pairs
from mnist_mlp.stats.sequential import interim_schedule
from mnist_mlp.stats.verdicts import Reason
from tests.helpers.interim import NOISE, look, scores
from tests.helpers.runs import Write


def test_repeat_analyses_decided_pair_keeps_its_verdict() -> None:
    first = [3 + noise for noise in NOISE[:4]]
    table = scores(a=[*first, *[-3 + noise for noise in NOISE[4:]]], b=[0.0] * 8)
    assert compare_pairs(table)[0]["verdict"].tolist() != ["better"]
    pairs, cells = repeat_analyses(table, [look(4), look(8)])
    assert (pairs["verdict"].tolist(), pairs["n"].tolist(), cells) == (["better"], [4], 2)
    assert pairs["difference"].tolist() == pytest.approx([0.03])
    pairs, _ = repeat_analyses(table, [look(4, 1e-9), look(8)])
    assert pairs["n"].tolist() == [8]
    assert pairs["verdict"].tolist() == ["inconclusive"]


def test_repeat_analyses_tests_at_the_level_of_the_analysis() -> None:
    table = scores(a=[0.2 + noise for noise in NOISE], b=[0.0] * 8)
    (p,) = compare_pairs(table)[0]["p"]
    for level, verdict in ((p * 1.01, "better"), (p * 0.99, "inconclusive")):
        pairs, _ = repeat_analyses(table, [look(8, level)])
        assert pairs["verdict"].tolist() == [verdict]
        assert (pairs["p_corrected"] < 0.05).tolist() == [verdict == "better"]
        assert (pairs["ci_low"] > 0).tolist() == [verdict == "better"]


def test_repeat_analyses_skips_analysis_with_missing_seeds() -> None:
    table = scores(a=[1 + 10 * noise for noise in NOISE], b=[0.0] * 4)
    strict, lax = repeat_analyses(table, [look(4, 1e-9), look(8, 0.9)])[0], repeat_analyses(table, [look(4, 0.9)])[0]
    assert strict[["verdict", "n"]].to_numpy().tolist() == [["inconclusive", 4]]
    assert lax["verdict"].tolist() == ["better"]


def test_repeat_analyses_without_variance_uses_test_images() -> None:
    table = scores(a=[0.0] * 8, b=[2.0] * 8)
    assert repeat_analyses(table, [look(8)])[0]["reason"].tolist() == ["no variance"]
    assert repeat_analyses(table, [look(8)], images=10_000)[0]["verdict"].tolist() == ["worse"]
    found, on, _ = conduct_analysis(table, look(8), None, images=10_000)
    assert (found.best, found.left, on) == ("b", {"a": "worse"}, [])


def test_repeat_analyses_interval_within_margin_is_equivalent() -> None:
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


def test_conduct_analysis_uses_active_cells_only() -> None:
    table = scores(a=[0.05] * 8, b=NOISE, c=[-3 + noise for noise in NOISE[::-1]])
    found, active, pairs = conduct_analysis(table, look(8, cells=("a", "b", "c")), None, 10_000)
    assert (found.best, found.left, active) == ("a", {"c": "worse"}, ["a", "b"])
    later = scores(a=[*[0.05] * 8, -0.5, -0.5], b=[*NOISE, 0.1, 0.1], c=[9.0] * 10)
    found, active, pairs = conduct_analysis(later, look(10, cells=("a", "b")), pairs, 10_000)
    assert (found.best, found.left, active) == ("b", {}, ["a", "b"])
    assert pairs.set_index(["a", "b"])["verdict"]["a", "c"] == "better"


def test_conduct_analysis_uses_seeds_of_its_analysis_only() -> None:
    table = scores(a=[*NOISE[:4], 5, 5, 5, 5], b=[1 + noise for noise in NOISE[3::-1]] + [0.0] * 4)
    assert conduct_analysis(table, look(4), None, 10_000)[0].best == "b"
    assert conduct_analysis(table, look(8), None, 10_000)[0].best == "a"


def test_repeat_analyses_tests_active_cells_only() -> None:
    table = scores(a=[0.3 + noise for noise in NOISE], b=[0.0] * 8, c=[0.1 - noise for noise in NOISE])
    pairs, cells = repeat_analyses(table, [look(4, 1e-9, ("a", "b", "c")), look(8, 0.9, ("a", "b"))])
    assert cells == 3  # cells at the first analysis, of which one was dropped later
    assert pairs.set_index(["a", "b"])["n"].to_dict() == {("a", "b"): 8, ("a", "c"): 4, ("b", "c"): 4}


@pytest.mark.parametrize(
    ("level", "margin", "active", "dropped"),
    [
        (0.9, None, [], {"b": "worse"}),
        (1e-9, None, ["a", "b"], {}),
        (1e-9, 0.5, [], {}),  # equivalent within a margin of 50 points
    ],
)
def test_conduct_analysis_uses_level_and_margin(
    level: float, margin: float | None, active: list[str], dropped: dict[str, str]
) -> None:
    table = scores(a=[0.02 + noise for noise in NOISE], b=[0.0] * 8)
    found, on, _ = conduct_analysis(table, look(8, level), None, margin=margin)
    assert (found.best, on, found.left) == ("a", active, dropped)


def test_analyses_intervals_of_accuracies_stay_within_one() -> None:
    table = pd.DataFrame([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]], index=["a", "b"])
    for pairs in (repeat_analyses(table, [look(3)])[0], conduct_analysis(table, look(3), None)[2]):
        assert pairs[["ci_low", "ci_high"]].to_numpy().tolist() == [[-1, 1]]


def test_withhold_makes_pairs_not_tested_for_the_reason() -> None:
    pairs = withhold(compare_pairs(scores(a=[1.0, 1.1, 1.2], b=[0.0, 0.2, 0.1]))[0], Reason.LOST_RUN)
    assert pairs[["verdict", "reason"]].to_numpy().tolist() == [["not tested", "lost run"]]
    assert pairs[[*NUMBERS]].isna().all(axis=None)


def record(seeds: int = 3) -> SequentialRecord:
    first = InterimRecord([0, 1, 2][:seeds], 0.01, ["a", "b", "c"], "a", {"c": "worse"})
    return SequentialRecord(plan=SequentialPlan(margin=None, max_seeds=3, batch=1), given=[0], jobs=[], looks=[first])


def test_rename_cells_keeps_cells_without_a_new_name() -> None:
    (renamed,) = rename_cells(record(), {"a": "x", "c": "z"}).looks
    assert (renamed.cells, renamed.best, renamed.left) == (["x", "b", "z"], "x", {"z": "worse"})


@pytest.mark.parametrize(
    ("seeds", "pair", "verdict", "needed"),
    [
        (2, "ab", "inconclusive", True),
        (2, "ba", "not tested", True),
        (3, "ab", "inconclusive", False),  # at the maximum number of seeds
        (2, "ab", "equivalent", False),
        (2, "ac", "inconclusive", False),  # c was dropped
        (2, "ca", "inconclusive", False),
        (2, "bc", "inconclusive", False),  # neither is the best
        (2, "cb", "inconclusive", False),
    ],
)
def test_needs_more_seeds_if_pairs_with_the_best_are_undecided(
    seeds: int, pair: str, verdict: str, needed: bool
) -> None:
    pairs = pd.DataFrame({"a": [pair[0]], "b": [pair[1]], "verdict": [verdict]})
    assert needs_more_seeds(record(seeds), pairs) == needed


def test_compared_by_reordered_keys_gives_equal_verdicts(analyzed: Path) -> None:
    usual, turned = (compare_sweeps([analyzed], by=by)[1]["mnist"] for by in (["init", "optim"], ["optim", "init"]))
    assert turned.pairs["verdict"].tolist() == usual.pairs["verdict"].tolist()
    assert turned.pairs["a"].tolist()[0] == "adam / lecun"


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
    plan = SequentialPlan(margin=0.0004, max_seeds=6, batch=3)
    write_looks(tmp_path / "sweep", SequentialRecord(plan=plan, given=[0, 1, 2], jobs=jobs, looks=looks))
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
    assert comparison.effects.table["n"].tolist() == [3, 3, 3]  # the seeds that all cells share
    assert "Unequal seeds" not in [note.topic for note in comparison.notes]


def test_compared_where_keeps_the_verdicts_of_the_whole_sweep(analyzed: Path) -> None:
    ((_, whole),) = compare_sweeps([analyzed])[1].items()
    for where, cells in (("init=he", {"he / adam", "he / sgd"}), ("optim=adam", {"he / adam", "lecun / adam"})):
        ((_, part),) = compare_sweeps([analyzed], where=[where])[1].items()
        expected = whole.pairs[whole.pairs["a"].isin(cells) & whole.pairs["b"].isin(cells)]
        pd.testing.assert_frame_equal(part.pairs, expected.reset_index(drop=True))
        assert part.looks == whole.looks
        (note,) = [note for note in part.notes if note.topic == "Part of a sweep"]
        assert "Pairs keep the significance levels of the whole sweep" in note.text


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
    assert both.effects.table.empty


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


def test_compare_at_best_of_looks_is_refused(analyzed: Path) -> None:
    with pytest.raises(UserError, match="--at best: expected a sweep without interim analyses"):
        compare_sweeps([analyzed], at="best")


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
