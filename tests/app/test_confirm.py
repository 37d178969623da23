"""Confirmation: selected configurations are retrained, and the report scores these runs only."""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_mlp.analysis.load import ProblemKind
from mnist_mlp.app import records
from mnist_mlp.app.confirm import Confirmation, read, with_seed
from mnist_mlp.app.sweep import check
from mnist_mlp.base.choices import ALL_SEEDS, CHOICES_FILE, Candidate, Selection, read_choices, write_choices
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interim import InterimRecord, SequentialPlan, SequentialRecord, write_looks
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import EACH, ONCE, SWEEP_FILE, SweepRecord, read_sweep, write_sweep
from mnist_mlp.base.sweep_file import Command as GivenCommand
from mnist_mlp.report import compare_sweeps
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.method import method
from mnist_mlp.report.text.verdicts import full_verdicts
from mnist_mlp.sweeps.jobs import Job
from tests.helpers.commands import IN_PROCESS, NO_REPORT, SMALLER, Command
from tests.helpers.runs import Report, Write, run_writer
from tests.helpers.sweeping import planning, requested, state_by_disk, write_results

SEARCH = ("-m", "optim=adam,sgd", "optim.lr=1e-4,1e-1", "seed=0,1", "epochs=1", *SMALLER, IN_PROCESS)
CONFIRM = "hydra.sweeper.confirm={epochs:2}"
PLAN = SequentialPlan(margin=None, max_seeds=9, batch=2)


def read_selections(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / CHOICES_FILE).read_text())
    return found


def test_sweep_with_confirm_retrains_and_reports_each_seeds_selection(command: Command, tmp_path: Path) -> None:
    here = "hydra.sweep.dir=multirun/here"
    listed = command("run.py", *SEARCH, CONFIRM, here, "dry_run=true").stdout
    assert "after the search, 4 jobs retrain the selections of 2 cells" in listed
    assert listed.count("to do  ") == 8
    assert re.search(r"^confirm +4 jobs, once the search is complete$", listed, re.M)
    assert re.search(r"^tuned +optim.lr: 2 candidates in each cell; one selection per seed$", listed, re.M)
    assert not (tmp_path / "multirun/here").exists()
    done = command("run.py", *SEARCH, CONFIRM, here).stdout
    assert [int(n) for n in re.findall(r"(\d+) jobs, 0 skipped", done)] == [8, 4]
    choices = read_selections(tmp_path / "multirun/here")
    assert choices.keys() == {"he / adam", "he / sgd"}
    runs = pd.read_csv(tmp_path / "reports/here/runs.csv")
    assert runs["phase"].value_counts().to_dict() == {"search": 8, "confirm": 4}
    assert runs.loc[runs["chosen"], "phase"].tolist() == ["confirm"] * 4
    for cell, of_seed in choices.items():
        assert list(of_seed) == ["0", "1"]
        for seed, choice in of_seed.items():
            is_own = (runs["phase"] == "search") & (runs["optim"] == cell.removeprefix("he / "))
            searched = runs[is_own & (runs["seed"] == int(seed))].set_index("optim.lr")
            assert choice["configuration"] == choice["candidates"][0]["configuration"]
            assert choice["configuration"] == {"optim.lr": searched["val_accuracy"].idxmax()}
            assert {c["configuration"]["optim.lr"]: (c["accuracy"], c["loss"]) for c in choice["candidates"]} == {
                lr: (row["val_accuracy"], pytest.approx(row["val_loss"])) for lr, row in searched.iterrows()
            }
            ((fresh, job),) = choice["confirmed"].items()
            made = json.loads((tmp_path / "multirun/here" / job / RUN_FILE).read_text())["config"]
            assert int(fresh) == made["seed"] == int(seed) + 1_000_000
            assert (made["epochs"], made["optim"]["lr"]) == (2, choice["configuration"]["optim.lr"])
    summary = pd.read_csv(tmp_path / "reports/here/summary.csv")
    assert summary["n"].tolist() == [2, 2]  # one section, of the confirmed runs
    # The same command again trains nothing; another seed trains its new jobs only.
    before = (tmp_path / "multirun/here" / CHOICES_FILE).read_text()
    again = command("run.py", *SEARCH, CONFIRM, here, NO_REPORT).stdout
    assert again.count("0 to do") == 2
    assert (tmp_path / "multirun/here" / CHOICES_FILE).read_text() == before
    wider = [argument.replace("seed=0,1", "seed=0,1,2") for argument in SEARCH]
    more = command("run.py", *wider, CONFIRM, here, NO_REPORT).stdout
    assert re.findall(r"(\d+) jobs, (\d+) skipped as they have a result, (\d+) to do", more) == [
        ("12", "8", "4"),
        ("6", "4", "2"),
    ]


def planned(top: Path, *arguments: str, tree: Any) -> list[Job]:
    """Check a request for a sweep before any training, and return the jobs that it begins with."""
    jobs = [[*arguments, f"seed={seed}"] for seed in (0, 1)]
    crossed = [[*job, f"optim.lr={lr}"] for job in jobs for lr in ("0.1", "0.2")]
    with planning(top) as plan:
        request = requested(top, plan, jobs if arguments == ("optim=sgd",) else crossed, tree)
        check(request, force=False)
        return state_by_disk(request).jobs


def test_check_selection_other_than_analyzed_raises(tmp_path: Path) -> None:
    jobs = [[f"optim={optim}", f"optim.lr={lr}", "seed=0"] for optim in ("adam", "sgd") for lr in (0.1, 0.2)]
    looks = SequentialRecord(
        plan=PLAN,
        given=[5, 6],
        jobs=["others"],
        looks=[InterimRecord([5, 6, 7], 0.01, ["he / adam", "he / sgd"], "he / sgd", {})],
    )
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, jobs, {"seed": [5, 6]}, PLAN, ONCE)
        write_results(request.search, lambda job: 0.9)
        write_looks(tmp_path, looks)
        with pytest.raises(UserError, match=r"4 jobs differ from those of earlier interim analyses"):
            records.check_selection(request, state_by_disk(request))


def test_state_before_end_of_search_has_no_selection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(planned(tmp_path, "optim=adam", tree=True)) == 4
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "tree", "words"),
    [
        (("optim=sgd",), True, ["nothing to select", "optim.lr=1e-3,1e-2"]),
        (
            ("optim=adam",),
            {"seed": [1, 2]},
            ["seed=1: expected a seed that the search does not use", "as many seeds as", "select=once"],
        ),
        (("optim=adam",), {"seed": [5]}, ["seed=[5]: expected 2", "as many seeds as", "select=once"]),
        (
            ("optim=adam",),
            {"seed": [5, 5]},
            ["seed=[5, 5]: expected different seeds", "as many seeds as", "select=once"],
        ),
        (("optim=adam",), {"seeds.weights": 1}, ["seeds.weights=1: expected a seed that the search does not use"]),
        (("optim=adam",), {"seeds.weights": [7, 8]}, ["seeds.weights=[7, 8]: expected one seed"]),
        (("optim=adam",), {"epochs": -1}, ["epochs=-1", "in [0, "]),
        (("optim=adam",), {"data.train_size": 0}, ["data.train_size=0", "at least 1"]),
        (("optim=adam",), {"seed": None}, ["seed=None", "a list of whole numbers"]),
        (("optim=adam",), {"seed": ["a"]}, ["seed=['a']", "a list of whole numbers"]),
        (("optim=adam",), {"optim.lr": 0.1}, ["optim.lr=0.1", "The selected configuration is fixed"]),
        (("optim=adam",), {"data": "mnist"}, ["data=mnist", "The selected configuration is fixed"]),
        (("optim=adam",), {"epoch": 3}, ["epoch=3", "Did you mean epochs?"]),
        (("optim=adam",), [10, 11], ["confirm=[10, 11]", "hydra.sweeper.confirm=true"]),
    ],
)
def test_check_invalid_confirm_raises_before_training(
    tmp_path: Path, arguments: Sequence[str], tree: Any, words: Sequence[str]
) -> None:
    with pytest.raises(UserError) as caught:
        planned(tmp_path, *arguments, tree=tree)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_check_confirm_in_directories_of_the_search_raises(tmp_path: Path) -> None:
    jobs = [["seed=0", f"optim.lr={lr}"] for lr in ("0.1", "0.2")]
    with (
        planning(tmp_path, "hydra.sweep.subdir='lr${optim.lr}'") as plan,
        pytest.raises(UserError, match=r"two different jobs have the same directory, .*/lr0\.1:\n.*seed=0.*\n.*seed=5"),
    ):
        check(requested(tmp_path, plan, jobs, {"seed": [5]}), force=False)


def test_check_confirm_with_independently_varied_seeds_raises(tmp_path: Path) -> None:
    jobs = [[f"seeds.weights={seed}", f"optim.lr={lr}"] for seed in (0, 1) for lr in (0.1, 0.2)]
    with (
        planning(tmp_path) as plan,
        pytest.raises(UserError, match=r"seeds\.weights: expected one value\. .*; vary seed instead"),
    ):
        check(requested(tmp_path, plan, jobs, True), force=False)
    fixed = [[f"seed={seed}", "seeds.weights=3", f"optim.lr={lr}"] for seed in (0, 1) for lr in (0.1, 0.2)]
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, fixed, {"seed": [3, 4]})  # the seed of the weights is fixed
        check(request, force=False)
        write_results(request.search, lambda job: job.config["optim"]["lr"])
        confirming = state_by_disk(request).phases["confirm"]
    assert [(job.config["seed"], job.config["seeds"]["weights"]) for job in confirming] == [(3, 3), (4, 3)]


def test_check_confirmed_search_without_confirm_raises(tmp_path: Path) -> None:
    write_choices(tmp_path, {})
    with pytest.raises(UserError, match="holds a search with confirmation"):
        planned(tmp_path, "optim=adam", tree={})


def test_with_seed_keeps_seeds_of_single_sources() -> None:
    assert with_seed(["optim=sgd", "seeds.weights=3", "seed=0"], 5) == ["optim=sgd", "seeds.weights=3", "seed=5"]


def test_read_confirm_returns_confirmation_or_none() -> None:
    assert read(None) is read({}) is read(False) is None
    assert read(True) == Confirmation(None, {})


def test_seeds_for_pairs_fresh_or_listed_seeds_with_search_seeds() -> None:
    assert Confirmation().seeds_for([0, 3], "each") == {"0": [1_000_000], "3": [1_000_003]}
    assert Confirmation([7, 5]).seeds_for([0, 3], "each") == {"0": [5], "3": [7]}
    assert Confirmation([7, 5, 9]).seeds_for([0, 3], "once") == {"all": [5, 7, 9]}


def candidate(lr: float, accuracy: float, jobs: Sequence[str]) -> Candidate:
    return Candidate(configuration={"optim.lr": lr}, accuracy=accuracy, loss=1 - accuracy, jobs=jobs)


def selection(lr: float, candidates: Sequence[Candidate], confirmed: Mapping[int, str]) -> Selection:
    return Selection(configuration={"optim.lr": lr}, candidates=candidates, confirmed=confirmed)


def confirmed_by(select: str, write_run: Write, top: Path) -> Path:
    """Write a confirmed sweep of two cells and two configurations: sgd is better in the search, adam when retrained."""
    choices: dict[str, dict[str, Selection]] = {}
    for optim, found, fresh in (("adam", 0.90, 0.95), ("sgd", 0.99, 0.91)):
        jobs = {
            lr: [write_run(optim=optim, lr=lr, seed=seed, test=[0.1, found - lr]) for seed in (0, 1, 2)]
            for lr in (0.1, 0.01)
        }
        retrained = [
            write_run(optim=optim, lr=0.01, seed=seed, test=[0.1, 0.5, fresh + seed / 1e4 * (1 + (optim == "sgd"))])
            for seed in (10, 11, 12)
        ]
        of_seeds = {
            str(seed): selection(
                0.01,
                [candidate(lr, found - lr, [jobs[lr][seed].name]) for lr in (0.01, 0.1)],
                {10 + seed: retrained[seed].name},
            )
            for seed in (0, 1, 2)
        }
        of_all = selection(
            0.01,
            [candidate(lr, found - lr, [run.name for run in jobs[lr]]) for lr in (0.01, 0.1)],
            {10 + number: run.name for number, run in enumerate(retrained)},
        )
        choices[f"he / {optim}"] = of_seeds if select == EACH else {ALL_SEEDS: of_all}
    write_choices(top / "sweep", choices)
    record = SweepRecord(
        compare=["init", "optim"],
        tuned=["optim.lr"],
        replicates={"seed": [0, 1, 2]},
        select=select,
        margin=None,
        phases={"search": [], "confirm": []},
        commands=[GivenCommand(command="python run.py", jobs=[])],
    )
    write_sweep(top / "sweep", record)
    return top / "sweep"


@pytest.fixture
def confirmed(write_run: Write, tmp_path: Path) -> Path:
    """A confirmed sweep with one selection per seed."""
    return confirmed_by(EACH, write_run, tmp_path)


def test_report_of_confirmed_sweep_scores_confirming_runs_only(
    confirmed: Path, summarize: Report, write_run: Write
) -> None:
    summary = summarize().set_index("optim")
    assert summary.index.tolist() == ["adam", "sgd"]
    assert summary["n"].tolist() == [3, 3]
    assert summary["test_accuracy_mean"].to_dict() == pytest.approx({"adam": 0.9511, "sgd": 0.9122})
    assert (summary["optim.lr"] == 0.01).all()
    (comparison,) = compare_sweeps([confirmed])[1].values()
    assert comparison.pairs["verdict"].tolist() == ["better"]
    assert comparison.tuned == ["optim.lr"]
    assert comparison.runs.loc[comparison.runs["phase"] == "confirm", "replicate"].tolist() == [0, 1, 2, 0, 1, 2]
    assert "retrained with a fresh seed; optim.lr=0.01 was selected by all 3 seeds." in answer(comparison)[-1]
    assert "for 2 epochs" in answer(comparison)[-1]
    assert any("seed that took no part" in line for line in method(comparison))
    assert any("among 0.01, 0.1" in line for line in method(comparison))
    assert sorted(comparison.sensitivity["lr"].unique()) == [0.01, 0.1]
    topics = [note.topic for note in comparison.notes]
    assert "Best optim.lr at the edge of what was tried" in topics
    assert not {"Unequal seeds", "Configurations with unequal seeds", "Learning rate not tuned"} & set(topics)


def confirming(sweep: Path, *cells: str) -> list[str]:
    """Return the runs that confirm the selections of these cells, or of all cells."""
    choices = read_selections(sweep)
    return [run for cell in cells or choices for of in choices[cell].values() for run in of["confirmed"].values()]


def end(run: Path, status: str) -> None:
    """Replace the final status of a run."""
    content = json.loads((run / RUN_FILE).read_text())
    (run / RUN_FILE).write_text(json.dumps(content | {"status": status, "reason": "nan"}))


def test_report_answer_and_notes_describe_confirming_runs_only(confirmed: Path) -> None:
    """In the search, a run of the selected configuration diverged, and others reached the target."""
    end(confirmed / read_selections(confirmed)["he / adam"]["0"]["candidates"][0]["jobs"][0], "diverged")
    (comparison,) = compare_sweeps([confirmed], target=0.88)[1].values()
    notes = {note.topic: note.text for note in comparison.notes}
    assert notes["Divergences"].endswith(": 1), none of them among those that are scored.")
    assert answer(comparison)[-2].startswith("No run among those that are scored reached 88% validation accuracy")


def test_report_all_confirming_runs_diverged_shows_the_search(confirmed: Path, report: Report, tmp_path: Path) -> None:
    for run in confirming(confirmed):
        end(confirmed / run, "diverged")
    report()
    text = (tmp_path / "report/report.md").read_text()
    assert "No run among those that are scored was completed: 6 diverged and count as 0" in text
    assert {path.stem for path in (tmp_path / "report/figures").glob("*.svg")} == {"sensitivity"}


def test_compared_by_other_keys_than_confirmed_raises(confirmed: Path) -> None:
    with pytest.raises(
        UserError, match=r"^--by init: expected --by init,optim, .* confirmed one selection per init and optim"
    ):
        compare_sweeps([confirmed], by=["init"])
    for same in (["optim"], ["optim", "init"]):  # all runs have one initialization
        (comparison,) = compare_sweeps([confirmed], by=same)[1].values()
        assert comparison.summary["n"].tolist() == [3, 3]


def test_report_confirming_run_also_searched_is_still_scored(confirmed: Path, summarize: Report) -> None:
    choices = read_selections(confirmed)
    choices["he / adam"]["0"]["candidates"][0]["jobs"] += confirming(confirmed, "he / adam")
    (confirmed / CHOICES_FILE).write_text(json.dumps(choices))
    assert summarize()["n"].tolist() == [3, 3]


def test_compared_runs_of_an_earlier_selection_are_set_aside(
    confirmed: Path, summarize: Report, write_run: Write
) -> None:
    left = write_run(optim="sgd", lr=0.1, seed=10, test=[0.1, 0.5, 0.999])
    assert summarize()["n"].tolist() == [3, 3]
    results, _ = compare_sweeps([confirmed])
    assert [problem.run for problem in results.problems] == [str(left)]
    assert "it belongs to an earlier selection" in results.problems[0].why
    record = read_sweep(confirmed / SWEEP_FILE)
    write_sweep(confirmed, replace(record, phases={"search": [], "confirm": [left.name]}))
    (problem,) = compare_sweeps([confirmed])[0].problems
    assert (problem.kind, "it confirms an earlier selection" in problem.why) == (ProblemKind.SUPERSEDED, True)


@pytest.mark.parametrize("damage", ["text", "link", "directory"])
def test_compared_without_choices_file_sets_all_its_runs_aside(
    confirmed: Path, write_run: Write, tmp_path: Path, damage: str
) -> None:
    (confirmed / CHOICES_FILE).unlink()
    if damage == "text":
        (confirmed / CHOICES_FILE).write_text('{"he / adam": 3}')
    elif damage == "link":
        (confirmed / CHOICES_FILE).symlink_to("nowhere")
    else:
        (confirmed / CHOICES_FILE).mkdir()
    other = write_run(optim="nag").rename(tmp_path / "other")
    results, _ = compare_sweeps([confirmed, other])
    assert results.runs.index.tolist() == [str(other)]
    problem, *others = results.problems
    assert (problem.run, problem.why.partition(":")[0]) == (str(confirmed), CHOICES_FILE)
    assert {other.why for other in others} == {
        "its sweep's sweep.json or choices.json is damaged. Remove the file, and rerun the command."
    }


@pytest.mark.parametrize(("select", "which"), [(EACH, "he / adam with seed 0"), (ONCE, "he / adam")])
def test_compared_sweeps_with_other_confirmed_configurations_raises(
    write_run: Write, tmp_path: Path, select: str, which: str
) -> None:
    confirmed = confirmed_by(select, write_run, tmp_path)
    run = write_run(lr=0.1, seed=20, test=[0.1, 0.5, 0.94])
    (tmp_path / "other").mkdir()
    run.rename(tmp_path / "other" / run.name)
    key = "0" if select == EACH else ALL_SEEDS
    write_choices(tmp_path / "other", {"he / adam": {key: selection(0.1, [], {20: run.name})}})
    with pytest.raises(UserError, match=rf"other and .*sweep: .* for {which}\. They have optim.lr=0.01 and 0.1"):
        compare_sweeps([confirmed, tmp_path / "other"])


def test_compared_sweeps_with_other_select_settings_raises(confirmed: Path, write_run: Write, tmp_path: Path) -> None:
    other = confirmed_by(ONCE, run_writer(tmp_path / "once"), tmp_path / "once")
    with pytest.raises(UserError, match=r"select=each in .*/sweep; select=once in .*/once/sweep\. Report on each kind"):
        compare_sweeps([confirmed, other])
    for asked in (EACH, ONCE):
        with pytest.raises(
            UserError, match=rf"--select {asked}: expected sweeps that were not confirmed\. .*/sweep has"
        ):
            compare_sweeps([confirmed], select=asked)
    ((_, comparison),) = compare_sweeps([other])[1].items()
    assert answer(comparison)[0].endswith("This is about these configurations, not about tuned optimizers.")
    assert "optim.lr=0.01, selected in a search and retrained" in answer(comparison)[-1]
    assert "One selection for all seeds" in [note.topic for note in comparison.notes]


def test_compared_unconfirmed_runs_of_a_confirmed_cell_are_set_aside(
    confirmed: Path, write_run: Write, tmp_path: Path
) -> None:
    plain = [write_run(lr=0.1, seed=seed, test=[0.1, 0.5, 0.99]).rename(tmp_path / f"plain{seed}") for seed in (0, 1)]
    (comparison,) = (c for c in compare_sweeps([confirmed, *plain])[1].values() if c.confirmed)
    assert comparison.summary["n"].tolist() == [3, 3]
    assert [note.text for note in comparison.notes if note.topic == "Runs set aside"] == [
        "he / adam: 2; these runs are not scored, since they confirm none of their cells' selections."
    ]


Written = Callable[[dict[str, dict[str, Selection]]], dict[str, dict[str, dict[str, str]]]]
ONE, OTHER = selection(0.1, [], {5: "a"}), selection(0.2, [], {5: "c"})


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Return a function that writes selections to one directory, and returns the confirming runs recorded there."""

    def write(choices: dict[str, dict[str, Selection]]) -> dict[str, dict[str, dict[str, str]]]:
        write_choices(tmp_path, choices)
        return {
            cell: {s: of["confirmed"] for s, of in seeds.items()} for cell, seeds in read_selections(tmp_path).items()
        }

    return write


def test_write_choices_select_once_accumulates_confirmations(written: Written) -> None:
    assert written({"x": {"all": ONE}}) == {"x": {"all": {"5": "a"}}}
    assert written({"x": {"all": replace(ONE, confirmed={6: "b"})}}) == {"x": {"all": {"5": "a", "6": "b"}}}
    assert written({"y": {"all": OTHER}}) == {"x": {"all": {"5": "a", "6": "b"}}, "y": {"all": {"5": "c"}}}
    assert written({"y": {"all": ONE}})["y"] == {"all": {"5": "a"}}
    searched = replace(ONE, candidates=[candidate(0.1, 0.9, ["b"])])
    assert written({"x": {"all": searched}})["x"] == {"all": {"5": "a"}}  # run b took part in the selection


def test_write_choices_select_each_keeps_last_confirmation(written: Written) -> None:
    assert written({"x": {"0": ONE, "1": OTHER}}) == {"x": {"0": {"5": "a"}, "1": {"5": "c"}}}
    assert written({"x": {"0": replace(ONE, confirmed={})}})["x"] == {"0": {"5": "a"}, "1": {"5": "c"}}
    assert written({"x": {"0": replace(ONE, confirmed={7: "d"})}})["x"]["0"] == {"7": "d"}
    assert written({"x": {"0": replace(OTHER, confirmed={})}})["x"]["0"] == {}  # another selection


def test_write_choices_equal_configuration_keeps_confirmation(written: Written) -> None:
    of_one, of_true, of_float = (replace(ONE, configuration={"optim.x": x}) for x in (1, True, 1.0))
    assert written({"x": {"1": of_one}})["x"]["1"] == {"5": "a"}
    assert written({"x": {"1": replace(of_float, confirmed={})}})["x"]["1"] == {"5": "a"}
    assert written({"x": {"1": replace(of_true, confirmed={})}})["x"]["1"] == {}  # true and 1 are different values


def test_write_choices_replaces_damaged_file(written: Written, tmp_path: Path) -> None:
    for damaged in ("{", '{"x": {"0": {"candidates": [], "confirmed": ["b"]}}}', '{"x": {"zero": {}}}'):
        (tmp_path / CHOICES_FILE).write_text(damaged)
        assert written({"x": {"0": ONE}}) == {"x": {"0": {"5": "a"}}}


@pytest.mark.parametrize("select", [EACH, ONCE])
def test_compared_unconfirmed_cell_is_tested_only_if_each_seed_selects(
    write_run: Write, tmp_path: Path, select: str
) -> None:
    """With one selection per cell, only cells without confirmation would profit from luck in the search."""
    confirmed = confirmed_by(select, write_run, tmp_path)
    plain = [
        write_run(
            optim="nag", lr=lr, seed=seed, test=[0.1, 0.5, 0.97 - lr + seed / 1e4 * (1 + 2 * (seed == 1))]
        ).rename(tmp_path / f"{lr}{seed}")
        for lr in (0.1, 0.01)
        for seed in ((0, 1, 2) if select == EACH else (10, 11, 12))
    ]
    (comparison,) = (c for c in compare_sweeps([confirmed, *plain])[1].values() if c.confirmed)
    pairs = comparison.pairs.set_index(["a", "b"])
    assert pairs["verdict"]["he / adam", "he / sgd"] == "better"
    assert any(line.startswith("In 2 of 3 cells, scores, curves and") for line in method(comparison))
    assert "Searched with different epochs" in [note.topic for note in comparison.notes]
    if select == EACH:
        assert pairs["verdict"]["he / nag", "he / adam"] == "better"
        return
    assert pairs["reason"]["he / nag", "he / adam"] == "unequal tuning"
    said = "not tested: tuned over 2 configurations with 3 seeds against a configuration confirmed on fresh seeds"
    assert full_verdicts(comparison, comparison.pairs)[0].startswith(said)


def test_compared_newer_equal_run_replaces_no_confirmation(confirmed: Path, tmp_path: Path) -> None:
    shutil.copytree(confirmed / confirming(confirmed, "he / adam")[0], tmp_path / "newer")
    (tmp_path / "newer" / RUN_FILE).touch()
    (comparison,) = compare_sweeps([confirmed, tmp_path / "newer"])[1].values()
    assert comparison.summary["n"].tolist() == [3, 3]
    assert "Runs set aside" in [note.topic for note in comparison.notes]


def test_report_cell_without_confirmation_keeps_its_name(confirmed: Path, summarize: Report) -> None:
    for run in confirming(confirmed, "he / sgd"):
        (confirmed / run / RUN_FILE).unlink()
    summary = summarize()
    assert summary[["init", "optim", "n"]].to_numpy().tolist() == [["he", "adam", 3], ["he", "sgd", 0]]


def test_compared_partly_confirmed_sweep_is_not_tested(confirmed: Path) -> None:
    """Otherwise the corrected p-values would depend on the order in which runs end."""
    (confirmed / confirming(confirmed, "he / sgd")[-1] / RUN_FILE).unlink()
    (comparison,) = compare_sweeps([confirmed])[1].values()
    assert comparison.pairs["reason"].tolist() == ["not confirmed"]
    notes = {note.topic: note.text for note in comparison.notes}
    assert "has 1 job without a result (confirm). Rerun the command" in notes["Unfinished sweep"]
    assert "Scores missing" not in notes


def test_report_before_any_confirmation_shows_the_search_untested(confirmed: Path, summarize: Report) -> None:
    for run in confirming(confirmed):
        (confirmed / run / RUN_FILE).unlink()
    assert summarize()["n"].tolist() == [3, 3]
    (comparison,) = compare_sweeps([confirmed])[1].values()
    assert comparison.pairs["reason"].eq("not confirmed").all()


@pytest.mark.parametrize(("select", "tree"), [(EACH, True), (ONCE, {"seed": [5, 6]})])
def test_write_records_narrower_search_keeps_wider_selection(tmp_path: Path, select: str, tree: Any) -> None:
    key, count = ("0", 1) if select == EACH else (ALL_SEEDS, 2)

    def written(plan: Any, optimizers: Sequence[str], rates: Sequence[float]) -> dict[str, Selection]:
        jobs = [[f"optim={optim}", f"optim.lr={lr}", "seed=0"] for optim in optimizers for lr in rates]
        request = requested(tmp_path, plan, jobs, tree, select=select)
        write_results([job for job in request.search if job.status() is None], lambda job: job.config["optim"]["lr"])
        records.write(request, state_by_disk(request), "a command")
        choices = read_choices(tmp_path / CHOICES_FILE)
        assert all([*of_seed] == [key] for of_seed in choices.values())
        return {cell: of_seed[key] for cell, of_seed in choices.items()}

    with planning(tmp_path) as plan:
        wide = written(plan, ("adam", "sgd"), (0.1, 0.2, 0.3))
        assert [of.configuration for of in wide.values()] == [{"optim.lr": 0.3}] * 2
        assert written(plan, ("adam",), (0.1, 0.3)) == wide
        assert written(plan, ("adam",), (0.1, 0.2)) == wide  # the selected rate is not in this search
        wider = written(plan, ("adam",), (0.1, 0.2, 0.3, 0.4))
        (gone,) = tmp_path.glob("he_adam_lr0.4_seed0-*")
        shutil.rmtree(gone)
        without = written(plan, ("adam",), (0.1, 0.2, 0.3))
    assert wider["he / adam"].configuration == {"optim.lr": 0.4}
    assert wider["he / sgd"] == wide["he / sgd"]
    assert without["he / adam"].configuration == {"optim.lr": 0.3}  # the selected job no longer has a result
    assert [len(of.confirmed) for of in without.values()] == [count, count]


@pytest.mark.parametrize(
    "change",
    [{"loss": "x"}, {"jobs": [{}]}, {"jobs": "abc"}, {"accuracy": []}, {"configuration": 3}, {"accuracy": "high"}],
)
def test_read_choices_damaged_candidates_raises_and_resume_rewrites(tmp_path: Path, change: dict[str, Any]) -> None:
    jobs = [["optim=adam", f"optim.lr={lr}", "seed=0"] for lr in (0.1, 0.2)]
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, jobs, {"seed": [5]})
        write_results(request.search, lambda job: job.config["optim"]["lr"])
        records.write(request, state_by_disk(request), "a command")
        whole = (tmp_path / CHOICES_FILE).read_text()
        content = json.loads(whole)
        content["he / adam"]["0"]["candidates"][0] |= change
        (tmp_path / CHOICES_FILE).write_text(json.dumps(content))
        with pytest.raises(Unreadable, match=r"^choices\.json: damaged"):
            read_choices(tmp_path / CHOICES_FILE)
        records.write(request, state_by_disk(request), "a command")
    assert (tmp_path / CHOICES_FILE).read_text() == whole
