"""Confirmation: what a search selects is retrained, and the report is of these runs only."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
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
from mnist_mlp.base.looks import Look, Looks, SequentialPlan, write_looks
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import EACH, ONCE, SWEEP_FILE, SweepRecord, read_sweep, write_sweep
from mnist_mlp.base.sweep_file import Command as GivenCommand
from mnist_mlp.report import compared
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.method import method
from mnist_mlp.report.text.verdicts import in_full
from mnist_mlp.sweeps.jobs import Job
from tests.helpers.commands import IN_PROCESS, NO_REPORT, SMALLER, Command
from tests.helpers.runs import Report, Write, run_writer
from tests.helpers.sweeping import planning, requested, state_by_disk, write_results

SEARCH = ("-m", "optim=adam,sgd", "optim.lr=1e-4,1e-1", "seed=0,1", "epochs=1", *SMALLER, IN_PROCESS)
CONFIRM = "hydra.sweeper.confirm={epochs:2}"
PLAN = SequentialPlan(margin=None, max_seeds=9, batch=2)


def chosen(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / CHOICES_FILE).read_text())
    return found


def test_what_each_seed_selects_is_retrained_and_reported_on(command: Command, tmp_path: Path) -> None:
    here = "hydra.sweep.dir=multirun/here"
    listed = command("run.py", *SEARCH, CONFIRM, here, "dry_run=true").stdout
    assert "after the search, 4 jobs retrain the selections of 2 cells" in listed
    assert listed.count("to do  ") == 8
    assert re.search(r"^confirm +4 jobs, once the search is complete$", listed, re.M)
    assert re.search(r"^tuned +optim.lr: 2 candidates in each cell; one selection per seed$", listed, re.M)
    assert not (tmp_path / "multirun/here").exists()
    done = command("run.py", *SEARCH, CONFIRM, here).stdout
    assert [int(n) for n in re.findall(r"(\d+) jobs, 0 skipped", done)] == [8, 4]
    choices = chosen(tmp_path / "multirun/here")
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
    # The same again trains nothing; another seed and another rate train what is new.
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
    """The jobs of the sweep that this request begins, of which nothing has been trained."""
    jobs = [[*arguments, f"seed={seed}"] for seed in (0, 1)]
    crossed = [[*job, f"optim.lr={lr}"] for job in jobs for lr in ("0.1", "0.2")]
    with planning(top) as plan:
        request = requested(top, plan, jobs if arguments == ("optim=sgd",) else crossed, tree)
        check(request, force=False)
        return state_by_disk(request).jobs


def test_check_selection_with_another_selection_than_was_analyzed_raises_before_writing(tmp_path: Path) -> None:
    jobs = [[f"optim={optim}", f"optim.lr={lr}", "seed=0"] for optim in ("adam", "sgd") for lr in (0.1, 0.2)]
    looks = Looks(
        plan=PLAN,
        given=[5, 6],
        jobs=["others"],
        looks=[Look([5, 6, 7], 0.01, ["he / adam", "he / sgd"], "he / sgd", {})],
    )
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, jobs, {"seed": [5, 6]}, PLAN, ONCE)
        write_results(request.search, lambda job: 0.9)
        write_looks(tmp_path, looks)
        with pytest.raises(UserError, match=r"4 jobs differ from those of earlier interim analyses"):
            records.check_selection(request, state_by_disk(request))


def test_state_before_the_search_has_ended_has_no_selection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
def test_what_cannot_be_confirmed_is_said_before_training(
    tmp_path: Path, arguments: Sequence[str], tree: Any, words: Sequence[str]
) -> None:
    with pytest.raises(UserError) as caught:
        planned(tmp_path, *arguments, tree=tree)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_a_confirmation_in_the_directories_of_the_search_is_refused_before_training(tmp_path: Path) -> None:
    jobs = [["seed=0", f"optim.lr={lr}"] for lr in ("0.1", "0.2")]
    with (
        planning(tmp_path, "hydra.sweep.subdir='lr${optim.lr}'") as plan,
        pytest.raises(UserError, match=r"two different jobs have the same directory, .*/lr0\.1:\n.*seed=0.*\n.*seed=5"),
    ):
        check(requested(tmp_path, plan, jobs, {"seed": [5]}), force=False)


def test_sources_that_vary_apart_are_not_confirmed(tmp_path: Path) -> None:
    jobs = [[f"seeds.weights={seed}", f"optim.lr={lr}"] for seed in (0, 1) for lr in (0.1, 0.2)]
    with (
        planning(tmp_path) as plan,
        pytest.raises(UserError, match=r"seeds\.weights: expected one value\. .*; vary seed instead"),
    ):
        check(requested(tmp_path, plan, jobs, True), force=False)
    fixed = [[f"seed={seed}", "seeds.weights=3", f"optim.lr={lr}"] for seed in (0, 1) for lr in (0.1, 0.2)]
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, fixed, {"seed": [3, 4]})  # the weights keep their seed throughout
        check(request, force=False)
        write_results(request.search, lambda job: job.config["optim"]["lr"])
        confirming = state_by_disk(request).phases["confirm"]
    assert [(job.config["seed"], job.config["seeds"]["weights"]) for job in confirming] == [(3, 3), (4, 3)]


def test_a_search_that_was_confirmed_is_not_mixed_with_another(tmp_path: Path) -> None:
    write_choices(tmp_path, {})
    with pytest.raises(UserError, match="holds a search with confirmation"):
        planned(tmp_path, "optim=adam", tree={})


def test_with_seed_keeps_seeds_of_single_sources() -> None:
    assert with_seed(["optim=sgd", "seeds.weights=3", "seed=0"], 5) == ["optim=sgd", "seeds.weights=3", "seed=5"]


def test_read_without_confirmation_returns_empty() -> None:
    assert read(None) is read({}) is read(False) is None
    assert read(True) == Confirmation(None, {})
    assert Confirmation().seeds_for([0, 3], "each") == {"0": [1_000_000], "3": [1_000_003]}
    assert Confirmation([7, 5]).seeds_for([0, 3], "each") == {"0": [5], "3": [7]}
    assert Confirmation([7, 5, 9]).seeds_for([0, 3], "once") == {"all": [5, 7, 9]}


def candidate(lr: float, accuracy: float, jobs: Sequence[str]) -> Candidate:
    return Candidate(configuration={"optim.lr": lr}, accuracy=accuracy, loss=1 - accuracy, jobs=jobs)


def selection(lr: float, candidates: Sequence[Candidate], confirmed: Mapping[int, str]) -> Selection:
    return Selection(configuration={"optim.lr": lr}, candidates=candidates, confirmed=confirmed)


def confirmed_by(select: str, write_run: Write, top: Path) -> Path:
    """Two cells, two configurations; the search flatters sgd, which loses when it is retrained."""
    choices: dict[str, dict[str, Selection]] = {}
    for optim, found, fresh in (("adam", 0.90, 0.95), ("sgd", 0.99, 0.91)):
        jobs = {
            lr: [write_run(optim=optim, lr=lr, seed=seed, test=[0.1, found - lr]) for seed in (0, 1, 2)]
            for lr in (0.1, 0.01)
        }
        anew = [
            write_run(optim=optim, lr=0.01, seed=seed, test=[0.1, 0.5, fresh + seed / 1e4 * (1 + (optim == "sgd"))])
            for seed in (10, 11, 12)
        ]
        of_seeds = {
            str(seed): selection(
                0.01,
                [candidate(lr, found - lr, [jobs[lr][seed].name]) for lr in (0.01, 0.1)],
                {10 + seed: anew[seed].name},
            )
            for seed in (0, 1, 2)
        }
        of_all = selection(
            0.01,
            [candidate(lr, found - lr, [run.name for run in jobs[lr]]) for lr in (0.01, 0.1)],
            {10 + number: run.name for number, run in enumerate(anew)},
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
    """A sweep whose seeds have selected for themselves, and are confirmed."""
    return confirmed_by(EACH, write_run, tmp_path)


def test_scores_are_of_confirmed_runs_alone(confirmed: Path, summarise: Report, write_run: Write) -> None:
    summary = summarise().set_index("optim")
    assert summary.index.tolist() == ["adam", "sgd"]
    assert summary["n"].tolist() == [3, 3]
    assert summary["test_accuracy_mean"].to_dict() == pytest.approx({"adam": 0.9511, "sgd": 0.9122})
    assert (summary["optim.lr"] == 0.01).all()
    (comparison,) = compared([confirmed])[1].values()
    assert comparison.pairs["verdict"].tolist() == ["better"]
    assert comparison.tuned == ["optim.lr"]
    assert comparison.runs.loc[comparison.runs["phase"] == "confirm", "replicate"].tolist() == [0, 1, 2, 0, 1, 2]
    assert "retrained with a fresh seed; optim.lr=0.01 was selected by all 3 seeds)" in answer(comparison)[0]
    assert "for 2 epochs" in answer(comparison)[0]
    assert any("seed that took no part" in line for line in method(comparison))
    assert any("among 0.01, 0.1" in line for line in method(comparison))
    assert sorted(comparison.sensitivity["lr"].unique()) == [0.01, 0.1]
    topics = [note.topic for note in comparison.notes]
    assert "Best optim.lr at the edge of what was tried" in topics
    assert not {"Unequal seeds", "Configurations with unequal seeds", "Learning rate not tuned"} & set(topics)


def confirming(sweep: Path, *cells: str) -> list[str]:
    """The runs that confirm the selections of these cells, or all."""
    choices = chosen(sweep)
    return [run for cell in cells or choices for of in choices[cell].values() for run in of["confirmed"].values()]


def end(run: Path, status: str) -> None:
    """Have a run end otherwise."""
    content = json.loads((run / RUN_FILE).read_text())
    (run / RUN_FILE).write_text(json.dumps(content | {"status": status, "reason": "nan"}))


def test_what_is_said_of_the_chosen_is_of_those_that_confirm_it(confirmed: Path) -> None:
    """A run at the chosen setting diverged in the search, where others reached what none did that was trained anew."""
    end(confirmed / chosen(confirmed)["he / adam"]["0"]["candidates"][0]["jobs"][0], "diverged")
    (comparison,) = compared([confirmed], target=0.88)[1].values()
    notes = {note.topic: note.text for note in comparison.notes}
    assert notes["Divergences"].endswith(": 1), none of them among those that are scored.")
    assert answer(comparison)[-1].startswith("No run among those that are scored reached 88% validation accuracy")


def test_where_all_that_confirm_diverged_the_search_is_shown(confirmed: Path, report: Report, tmp_path: Path) -> None:
    for run in confirming(confirmed):
        end(confirmed / run, "diverged")
    report()
    text = (tmp_path / "report/report.md").read_text()
    assert "No run among those that are scored was completed: 6 diverged and count as 0" in text
    assert {path.stem for path in (tmp_path / "report/figures").glob("*.svg")} == {"sensitivity"}


def test_cells_are_those_that_were_confirmed(confirmed: Path) -> None:
    with pytest.raises(UserError, match=r"^--by init: .* confirmed a selection for each init and optim, so its runs"):
        compared([confirmed], by=["init"])
    for same in (["optim"], ["optim", "init"]):  # of one initialisation
        (comparison,) = compared([confirmed], by=same)[1].values()
        assert comparison.summary["n"].tolist() == [3, 3]


def test_a_run_that_another_search_has_tried_too_is_still_confirmed(confirmed: Path, summarise: Report) -> None:
    choices = chosen(confirmed)
    choices["he / adam"]["0"]["candidates"][0]["jobs"] += confirming(confirmed, "he / adam")
    (confirmed / CHOICES_FILE).write_text(json.dumps(choices))
    assert summarise()["n"].tolist() == [3, 3]


def test_what_an_earlier_choice_left_behind_is_set_aside(confirmed: Path, summarise: Report, write_run: Write) -> None:
    left = write_run(optim="sgd", lr=0.1, seed=10, test=[0.1, 0.5, 0.999])
    assert summarise()["n"].tolist() == [3, 3]
    results, _ = compared([confirmed])
    assert [problem.run for problem in results.problems] == [str(left)]
    assert "of an earlier selection" in results.problems[0].why
    record = read_sweep(confirmed / SWEEP_FILE)
    write_sweep(confirmed, replace(record, phases={"search": [], "confirm": [left.name]}))
    (problem,) = compared([confirmed])[0].problems
    assert (problem.kind, "it confirms an earlier selection" in problem.why) == (ProblemKind.SUPERSEDED, True)


@pytest.mark.parametrize("damage", ["text", "link", "directory"])
def test_without_its_choices_nobody_knows_which_runs_are_results(
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
    results, _ = compared([confirmed, other])
    assert results.runs.index.tolist() == [str(other)]
    problem, *others = results.problems
    assert (problem.run, problem.why.partition(":")[0]) == (str(confirmed), CHOICES_FILE)
    assert {other.why for other in others} == {
        "its sweep's sweep.json or choices.json is damaged. Remove it, and repeat the command."
    }


@pytest.mark.parametrize(("select", "which"), [(EACH, r"he / adam with seed 0, which"), (ONCE, "he / adam, which")])
def test_sweeps_that_confirmed_different_configurations_are_not_averaged(
    write_run: Write, tmp_path: Path, select: str, which: str
) -> None:
    confirmed = confirmed_by(select, write_run, tmp_path)
    run = write_run(lr=0.1, seed=20, test=[0.1, 0.5, 0.94])
    (tmp_path / "other").mkdir()
    run.rename(tmp_path / "other" / run.name)
    key = "0" if select == EACH else ALL_SEEDS
    write_choices(tmp_path / "other", {"he / adam": {key: selection(0.1, [], {20: run.name})}})
    with pytest.raises(UserError, match=rf"other and .*sweep confirmed optim.lr=0.01 and 0.1 for {which} has one"):
        compared([confirmed, tmp_path / "other"])


def test_sweeps_that_select_in_other_ways_are_not_reported_on_together(
    confirmed: Path, write_run: Write, tmp_path: Path
) -> None:
    other = confirmed_by(ONCE, run_writer(tmp_path / "once"), tmp_path / "once")
    with pytest.raises(UserError, match=r"select=each in .*/sweep; select=once in .*/once/sweep\. Report on each kind"):
        compared([confirmed, other])
    for asked in (EACH, ONCE):
        with pytest.raises(
            UserError, match=rf"--select {asked}: expected sweeps that were not confirmed\. .*/sweep has"
        ):
            compared([confirmed], select=asked)
    ((_, comparison),) = compared([other])[1].items()
    assert answer(comparison)[0].endswith("This is about these configurations, not about tuned optimizers.")
    assert "optim.lr=0.01, selected in a search and retrained" in answer(comparison)[0]
    assert "One selection for all seeds" in [note.topic for note in comparison.notes]


def test_runs_that_confirm_nothing_are_not_scored_beside_those_that_do(
    confirmed: Path, write_run: Write, tmp_path: Path
) -> None:
    plain = [write_run(lr=0.1, seed=seed, test=[0.1, 0.5, 0.99]).rename(tmp_path / f"plain{seed}") for seed in (0, 1)]
    (comparison,) = (c for c in compared([confirmed, *plain])[1].values() if c.confirmed)
    assert comparison.summary["n"].tolist() == [3, 3]
    assert [note.text for note in comparison.notes if note.topic == "Runs set aside"] == [
        "he / adam: 2: they confirm nothing, in cells whose selections were confirmed by others, and are not scored."
    ]


def test_write_choices_keeps_what_was_confirmed_before(tmp_path: Path) -> None:
    def written(choices: dict[str, dict[str, Selection]]) -> dict[str, dict[str, dict[str, str]]]:
        write_choices(tmp_path, choices)
        return {cell: {s: of["confirmed"] for s, of in seeds.items()} for cell, seeds in chosen(tmp_path).items()}

    one, other = selection(0.1, [], {5: "a"}), selection(0.2, [], {5: "c"})
    # Selected once, all seeds confirm; of other cells what is there stays.
    assert written({"x": {"all": one}}) == {"x": {"all": {"5": "a"}}}
    assert written({"x": {"all": replace(one, confirmed={6: "b"})}}) == {"x": {"all": {"5": "a", "6": "b"}}}
    assert written({"y": {"all": other}}) == {"x": {"all": {"5": "a", "6": "b"}}, "y": {"all": {"5": "c"}}}
    assert written({"y": {"all": one}})["y"] == {"all": {"5": "a"}}
    searched = replace(one, candidates=[candidate(0.1, 0.9, ["b"])])
    assert written({"x": {"all": searched}})["x"] == {"all": {"5": "a"}}  # b has taken part in the selection
    # Selected by each seed, the last command's confirmation counts, unless it has none.
    (tmp_path / CHOICES_FILE).unlink()
    assert written({"x": {"0": one, "1": other}}) == {"x": {"0": {"5": "a"}, "1": {"5": "c"}}}
    assert written({"x": {"0": replace(one, confirmed={})}})["x"] == {"0": {"5": "a"}, "1": {"5": "c"}}
    assert written({"x": {"0": replace(one, confirmed={7: "d"})}})["x"]["0"] == {"7": "d"}
    assert written({"x": {"0": replace(other, confirmed={})}})["x"]["0"] == {}  # another selection
    of_one, of_true, of_float = (replace(one, configuration={"optim.x": x}) for x in (1, True, 1.0))
    assert written({"x": {"1": of_one}})["x"]["1"] == {"5": "a"}
    assert written({"x": {"1": replace(of_float, confirmed={})}})["x"]["1"] == {"5": "a"}
    assert written({"x": {"1": replace(of_true, confirmed={})}})["x"]["1"] == {}  # true is another value than 1
    for damaged in ("{", '{"x": {"0": {"candidates": [], "confirmed": ["b"]}}}', '{"x": {"zero": {}}}'):
        (tmp_path / CHOICES_FILE).write_text(damaged)
        assert written({"x": {"0": one}}) == {"x": {"0": {"5": "a"}}}


@pytest.mark.parametrize("select", [EACH, ONCE])
def test_cells_that_were_not_confirmed_compare_where_each_seed_selects(
    write_run: Write, tmp_path: Path, select: str
) -> None:
    """Selected once, the luck of the search would count for the cells without confirmation only."""
    confirmed = confirmed_by(select, write_run, tmp_path)
    plain = [
        write_run(
            optim="nag", lr=lr, seed=seed, test=[0.1, 0.5, 0.97 - lr + seed / 1e4 * (1 + 2 * (seed == 1))]
        ).rename(tmp_path / f"{lr}{seed}")
        for lr in (0.1, 0.01)
        for seed in ((0, 1, 2) if select == EACH else (10, 11, 12))
    ]
    (comparison,) = (c for c in compared([confirmed, *plain])[1].values() if c.confirmed)
    pairs = comparison.pairs.set_index(["a", "b"])
    assert pairs["verdict"]["he / adam", "he / sgd"] == "better"
    assert any(line.startswith("In 2 of 3 cells, scores, curves and") for line in method(comparison))
    assert "Searched with different epochs" in [note.topic for note in comparison.notes]
    if select == EACH:
        assert pairs["verdict"]["he / nag", "he / adam"] == "better"
        return
    assert pairs["reason"]["he / nag", "he / adam"] == "unequal tuning"
    said = "not tested: tuned over 2 configurations with 3 seeds against a configuration confirmed on fresh seeds"
    assert in_full(comparison, comparison.pairs)[0].startswith(said)


def test_a_newer_run_of_the_same_takes_no_confirmation_away(confirmed: Path, tmp_path: Path) -> None:
    shutil.copytree(confirmed / confirming(confirmed, "he / adam")[0], tmp_path / "newer")
    (tmp_path / "newer" / RUN_FILE).touch()
    (comparison,) = compared([confirmed, tmp_path / "newer"])[1].values()
    assert comparison.summary["n"].tolist() == [3, 3]
    assert "Runs set aside" in [note.topic for note in comparison.notes]


def test_a_cell_that_is_not_confirmed_yet_has_its_name(confirmed: Path, summarise: Report) -> None:
    for run in confirming(confirmed, "he / sgd"):
        (confirmed / run / RUN_FILE).unlink()
    summary = summarise()
    assert summary[["init", "optim", "n"]].to_numpy().tolist() == [["he", "adam", 3], ["he", "sgd", 0]]


def test_a_sweep_that_is_half_confirmed_gives_no_verdict(confirmed: Path) -> None:
    """Else pairs would be tested, and corrected for, in the order in which their runs happen to end."""
    (confirmed / confirming(confirmed, "he / sgd")[-1] / RUN_FILE).unlink()
    (comparison,) = compared([confirmed])[1].values()
    assert comparison.pairs["reason"].tolist() == ["not confirmed"]
    notes = {note.topic: note.text for note in comparison.notes}
    assert "has 1 job without a result (confirm); the command" in notes["Unfinished sweep"]
    assert "Scores missing" not in notes


def test_while_none_is_confirmed_the_search_is_reported_on(confirmed: Path, summarise: Report) -> None:
    for run in confirming(confirmed):
        (confirmed / run / RUN_FILE).unlink()
    assert summarise()["n"].tolist() == [3, 3]
    (comparison,) = compared([confirmed])[1].values()
    assert comparison.pairs["reason"].eq("not confirmed").all()


@pytest.mark.parametrize(("select", "tree"), [(EACH, True), (ONCE, {"seed": [5, 6]})])
def test_select_of_a_narrower_search_keeps_the_wider_selection(tmp_path: Path, select: str, tree: Any) -> None:
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
    assert without["he / adam"].configuration == {"optim.lr": 0.3}  # what was selected has no result anymore
    assert [len(of.confirmed) for of in without.values()] == [count, count]


@pytest.mark.parametrize(
    "change",
    [{"loss": "x"}, {"jobs": [{}]}, {"jobs": "abc"}, {"accuracy": []}, {"configuration": 3}, {"accuracy": "high"}],
)
def test_read_choices_of_damaged_candidates_is_refused_and_a_resume_goes_on(
    tmp_path: Path, change: dict[str, Any]
) -> None:
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
