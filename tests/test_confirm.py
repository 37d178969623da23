"""Confirmation: what a search chooses is trained anew, and the report is of these runs alone."""

import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import IN_PROCESS, NO_REPORT, SMALLER, Command, Report, Write
from sweeping import planning, requested, state_by_disk, write_results

from mnist_mlp.app import records
from mnist_mlp.app.confirm import confirming, read
from mnist_mlp.app.sweep import check
from mnist_mlp.report import compared
from mnist_mlp.report.render.answer import answer
from mnist_mlp.report.render.method import method
from mnist_mlp.report.render.verdicts import in_full
from mnist_mlp.run.choices import CHOICES_FILE, Candidate, Choice, read_choices, write_choices
from mnist_mlp.run.errors import UserError
from mnist_mlp.run.looks import Look, Looks, SequentialPlan, write_looks
from mnist_mlp.run.reading import Unreadable
from mnist_mlp.run.record import RUN_FILE
from mnist_mlp.sweeps.jobs import Job

SEARCH = ("-m", "optim=adam,sgd", "optim.lr=1e-4,1e-1", "seed=0,1", "epochs=1", *SMALLER, IN_PROCESS)
CONFIRM = "hydra.sweeper.confirm={seed:[10,11,12],epochs:2}"
PLAN = SequentialPlan(margin=None, max_seeds=9, batch=2)


def chosen(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / CHOICES_FILE).read_text())
    return found


def test_what_is_chosen_is_trained_anew_and_reported_on(command: Command, tmp_path: Path) -> None:
    here = "hydra.sweep.dir=multirun/here"
    listed = command("run.py", *SEARCH, CONFIRM, here, "dry_run=true").stdout
    assert "then 6 jobs train anew what is chosen for 2 cells" in listed
    assert listed.count("to do  ") == 8
    assert not (tmp_path / "multirun/here").exists()
    done = command("run.py", *SEARCH, CONFIRM, here).stdout
    assert [int(n) for n in re.findall(r"(\d+) jobs, 0 skipped", done)] == [8, 6]
    choices = chosen(tmp_path / "multirun/here")
    assert choices.keys() == {"he / adam", "he / sgd"}
    runs = pd.read_csv(tmp_path / "reports/here/runs.csv")
    assert runs["phase"].value_counts().to_dict() == {"search": 8, "confirm": 6}
    for cell, choice in choices.items():
        searched = runs[(runs["phase"] == "search") & (runs["optim"] == cell.removeprefix("he / "))]
        means = searched.groupby("optim.lr")["val_accuracy"].mean()
        assert choice["setting"] == choice["candidates"][0]["setting"] == {"optim.lr": means.idxmax()}
        assert {c["setting"]["optim.lr"]: (c["mean"], c["n"]) for c in choice["candidates"]} == {
            lr: (pytest.approx(mean), 2) for lr, mean in means.items()
        }
        made = [json.loads((tmp_path / "multirun/here" / job / RUN_FILE).read_text()) for job in choice["confirmed"]]
        assert [run["config"]["seed"] for run in made] == [10, 11, 12]
        assert {(run["config"]["epochs"], run["config"]["optim"]["lr"]) for run in made} == {(2, means.idxmax())}
    summary = pd.read_csv(tmp_path / "reports/here/summary.csv")
    assert summary["n"].tolist() == [3, 3]  # one section, of the confirmed runs
    assert set(summary["optim.lr"]) == {choice["setting"]["optim.lr"] for choice in choices.values()}
    # The same again trains nothing.
    before = (tmp_path / "multirun/here" / CHOICES_FILE).read_text()
    again = command("run.py", *SEARCH, CONFIRM, here, NO_REPORT).stdout
    assert again.count("0 to do") == 2
    assert (tmp_path / "multirun/here" / CHOICES_FILE).read_text() == before


def planned(top: Path, *arguments: str, tree: Any) -> list[Job]:
    """The jobs of the sweep that this request begins, of which nothing has been trained."""
    jobs = [[*arguments, f"seed={seed}"] for seed in (0, 1)]
    crossed = [[*job, f"optim.lr={lr}"] for job in jobs for lr in ("0.1", "0.2")]
    with planning(top) as plan:
        request = requested(top, plan, jobs if arguments == ("optim=sgd",) else crossed, read(tree))
        check(request, force=False)
        return state_by_disk(request).jobs


def test_check_selection_with_another_selection_than_was_analyzed_raises_before_writing(tmp_path: Path) -> None:
    jobs = [[f"optim={optim}", f"optim.lr={lr}", "seed=0"] for optim in ("adam", "sgd") for lr in (0.1, 0.2)]
    looks = Looks(plan=PLAN, given=[5, 6], jobs=["others"], looks=[Look([5, 6, 7], 0.01, ("he / adam",), "", {})])
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, jobs, {"seed": [5, 6]}, PLAN)
        write_results(request.search, lambda job: 0.9)
        write_looks(tmp_path, looks)
        with pytest.raises(UserError, match=r"4 jobs are others than those that were looked at"):
            records.check_selection(request, state_by_disk(request))


def test_state_before_the_search_has_ended_has_no_selection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(planned(tmp_path, "optim=adam", tree={"seed": [5]})) == 4
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "tree", "words"),
    [
        (("optim=sgd",), {"seed": [5]}, ["nothing to choose", "optim.lr=1e-3,1e-2"]),
        (("optim=adam",), {"seed": [1, 2]}, ["seed=1 is one of the search's", "allowed are others"]),
        (("optim=adam", "seeds.weights=5"), {"seed": [5]}, ["seed=5 is one of the search's", "allowed are others"]),
        (("optim=adam",), {"seed": [5], "seeds.weights": 1}, ["seeds.weights=1 is one of the search's"]),
        (("optim=adam",), {"seed": [5], "epochs": -1}, ["epochs=-1", "at least 0"]),
        (("optim=adam",), {"seed": [5], "data.train_size": 0}, ["data.train_size=0", "at least 1"]),
        (("optim=adam",), {"epochs": 3}, ["seed=None", "a list of whole numbers"]),
        (("optim=adam",), {"seed": ["a"]}, ["seed=['a']", "a list of whole numbers"]),
        (("optim=adam",), {"seed": [5, 5]}, ["there twice"]),
        (("optim=adam",), {"seed": [5], "optim.lr": 0.1}, ["optim.lr=0.1", "what the search has chosen stays"]),
        (("optim=adam",), {"seed": [5], "data": "mnist"}, ["data=mnist", "what the search has chosen stays"]),
        (("optim=adam",), {"seed": [5], "epoch": 3}, ["epoch=3", "did you mean epochs?"]),
        (("optim=adam",), [10, 11], ["confirm=[10, 11]", "as in 'hydra.sweeper.confirm={seed:"]),
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
        pytest.raises(UserError, match=r"two different jobs have one directory, .*/lr0\.1:\n.*seed=0.*\n.*seed=5"),
    ):
        check(requested(tmp_path, plan, jobs, {"seed": [5]}), force=False)


def test_a_search_that_was_confirmed_is_not_mixed_with_another(tmp_path: Path) -> None:
    write_choices(tmp_path, {})
    with pytest.raises(UserError, match="holds a search that is to be confirmed"):
        planned(tmp_path, "optim=adam", tree={})


def test_seeds_of_streams_stay_with_the_search() -> None:
    assert confirming(["optim=sgd", "seeds.weights=3", "seed=0"], {"seed": [5, 6]}) == [
        ["optim=sgd", "seed=5"],
        ["optim=sgd", "seed=6"],
    ]


def test_read_without_confirmation_returns_empty() -> None:
    assert read(None) == read({}) == {}


@pytest.fixture
def confirmed(write_run: Write, tmp_path: Path) -> Path:
    """Two cells, two settings; the search flatters sgd, which loses when it is trained anew."""
    choices = {}
    for optim, found, fresh in (("adam", 0.90, 0.95), ("sgd", 0.99, 0.91)):
        jobs = {
            lr: [write_run(optim=optim, lr=lr, seed=seed, test=[0.1, found - lr]) for seed in (0, 1)]
            for lr in (0.1, 0.01)
        }
        anew = [
            write_run(optim=optim, lr=0.01, seed=seed, test=[0.1, 0.5, fresh + seed / 1e4 * (1 + (optim == "sgd"))])
            for seed in (10, 11, 12)
        ]
        candidates = [Candidate({"optim.lr": lr}, found - lr, 2, [run.name for run in jobs[lr]]) for lr in (0.01, 0.1)]
        choices[f"he / {optim}"] = Choice({"optim.lr": 0.01}, candidates, [run.name for run in anew])
    write_choices(tmp_path / "sweep", choices)
    return tmp_path / "sweep"


def test_scores_are_of_confirmed_runs_alone(confirmed: Path, summarise: Report, write_run: Write) -> None:
    summary = summarise().set_index("optim")
    assert summary.index.tolist() == ["adam", "sgd"]
    assert summary["n"].tolist() == [3, 3]
    assert summary["test_accuracy_mean"].to_dict() == pytest.approx({"adam": 0.9511, "sgd": 0.9122})
    assert (summary["optim.lr"] == 0.01).all()
    (comparison,) = compared([confirmed])[1].values()
    assert comparison.pairs["verdict"].tolist() == ["better"]
    assert comparison.tuned == ["optim.lr"]
    assert "optim.lr=0.01, selected in a search and retrained" in answer(comparison)[0]
    assert "for 2 epochs" in answer(comparison)[0]
    assert any("seeds that took no part" in line for line in method(comparison))
    assert any("among 0.01, 0.1" in line for line in method(comparison))
    assert sorted(comparison.sensitivity["lr"].unique()) == [0.01, 0.1]
    topics = [note.topic for note in comparison.notes]
    assert "Best optim.lr at the edge of what was tried" in topics
    assert not {"Unequal seeds", "Settings with unequal seeds", "Learning rate not tuned"} & set(topics)


def end(run: Path, status: str) -> None:
    """Have a run end otherwise."""
    content = json.loads((run / RUN_FILE).read_text())
    (run / RUN_FILE).write_text(json.dumps(content | {"status": status, "reason": "nan"}))


def test_what_is_said_of_the_chosen_is_of_those_that_confirm_it(confirmed: Path) -> None:
    """A run at the chosen setting diverged in the search, where others reached what none did that was trained anew."""
    end(confirmed / chosen(confirmed)["he / adam"]["candidates"][0]["jobs"][0], "diverged")
    (comparison,) = compared([confirmed], target=0.88)[1].values()
    notes = {note.topic: note.text for note in comparison.notes}
    assert notes["Divergences"].endswith(": 1), none of them among those that are scored.")
    assert answer(comparison)[-1].startswith("No run among those that are scored reached 88 % validation accuracy")


def test_where_all_that_confirm_diverged_the_search_is_shown(confirmed: Path, report: Report, tmp_path: Path) -> None:
    for choice in chosen(confirmed).values():
        for run in choice["confirmed"]:
            end(confirmed / run, "diverged")
    report()
    text = (tmp_path / "report/report.md").read_text()
    assert "No run among those that are scored was completed: 6 diverged and count as 0" in text
    assert {path.stem for path in (tmp_path / "report/figures").glob("*.svg")} == {"sensitivity"}


def test_cells_are_those_that_were_confirmed(confirmed: Path) -> None:
    with pytest.raises(UserError, match=r"^--by init: .* confirmed a setting for each init and optim, so its runs"):
        compared([confirmed], by=["init"])
    for same in (["optim"], ["optim", "init"]):  # of one initialisation
        (comparison,) = compared([confirmed], by=same)[1].values()
        assert comparison.summary["n"].tolist() == [3, 3]


def test_a_run_that_another_search_has_tried_too_is_still_confirmed(confirmed: Path, summarise: Report) -> None:
    choices = chosen(confirmed)
    choices["he / adam"]["candidates"][0]["jobs"] += choices["he / adam"]["confirmed"]
    (confirmed / CHOICES_FILE).write_text(json.dumps(choices))
    assert summarise()["n"].tolist() == [3, 3]


def test_what_an_earlier_choice_left_behind_is_set_aside(confirmed: Path, summarise: Report, write_run: Write) -> None:
    left = write_run(optim="sgd", lr=0.1, seed=10, test=[0.1, 0.5, 0.999])
    assert summarise()["n"].tolist() == [3, 3]
    results, _ = compared([confirmed])
    assert [problem.run for problem in results.problems] == [str(left)]
    assert "of an earlier choice" in results.problems[0].why


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


def test_sweeps_that_confirmed_different_settings_are_not_averaged(
    confirmed: Path, write_run: Write, tmp_path: Path
) -> None:
    run = write_run(lr=0.1, seed=20, test=[0.1, 0.5, 0.94])
    (tmp_path / "other").mkdir()
    run.rename(tmp_path / "other" / run.name)
    write_choices(tmp_path / "other", {"he / adam": Choice({"optim.lr": 0.1}, [], [run.name])})
    with pytest.raises(UserError, match=r"other and .*sweep confirmed optim.lr=0.01 and 0.1 for he / adam, which has"):
        compared([confirmed, tmp_path / "other"])


def test_runs_that_confirm_nothing_are_not_scored_beside_those_that_do(
    confirmed: Path, write_run: Write, tmp_path: Path
) -> None:
    plain = [write_run(lr=0.1, seed=seed, test=[0.1, 0.5, 0.99]).rename(tmp_path / f"plain{seed}") for seed in (0, 1)]
    (comparison,) = (c for c in compared([confirmed, *plain])[1].values() if c.confirmed)
    assert comparison.summary["n"].tolist() == [3, 3]
    assert [note.text for note in comparison.notes if note.topic == "Runs set aside"] == [
        "he / adam: 2: they confirm nothing, in cells whose setting was confirmed by others, and are not scored."
    ]


def test_what_was_confirmed_before_stays(tmp_path: Path) -> None:
    def written(choices: dict[str, Choice]) -> dict[str, list[str]]:
        write_choices(tmp_path, choices)
        return {cell: of["confirmed"] for cell, of in chosen(tmp_path).items()}

    one, other = Choice({"optim.lr": 0.1}, [], ["a"]), Choice({"optim.lr": 0.2}, [], ["c"])
    assert written({"he / adam": one}) == {"he / adam": ["a"]}
    assert written({"he / adam": replace(one, confirmed=["b"])}) == {"he / adam": ["a", "b"]}
    assert written({"he / adam": one, "he / sgd": other}) == {"he / adam": ["a", "b"], "he / sgd": ["c"]}
    assert written({"he / sgd": one}) == {"he / adam": ["a", "b"], "he / sgd": ["a"]}
    assert written({"he / adam": replace(one, confirmed=["d"])})["he / adam"] == ["a", "b", "d"]
    searched = replace(one, candidates=[Candidate({"optim.lr": 0.1}, 0.9, 1, ["b"])], confirmed=["a"])
    assert written({"he / adam": searched})["he / adam"] == ["a", "d"]  # b has taken part in the choice
    for damaged in ("{", '{"he / adam": {"candidates": [], "confirmed": ["b"]}}'):
        (tmp_path / CHOICES_FILE).write_text(damaged)
        assert written({"he / adam": one}) == {"he / adam": ["a"]}


def test_cells_that_were_not_confirmed_are_not_compared_with_those_that_were(
    confirmed: Path, write_run: Write, tmp_path: Path
) -> None:
    plain = [
        write_run(optim="nag", lr=lr, seed=seed, test=[0.1, 0.5, 0.97 - lr + seed / 1e4]).rename(
            tmp_path / f"{lr}{seed}"
        )
        for lr in (0.1, 0.01)
        for seed in (10, 11, 12)
    ]
    (comparison,) = (c for c in compared([confirmed, *plain])[1].values() if c.confirmed)
    pairs = comparison.pairs.set_index(["a", "b"])
    assert pairs["verdict"]["he / adam", "he / sgd"] == "better"
    assert pairs["reason"]["he / nag", "he / adam"] == "unequal tuning"
    said = "not tested: tuned over 2 configurations with 3 seeds against a configuration confirmed on fresh seeds"
    assert in_full(comparison, comparison.pairs)[0].startswith(said)
    assert "chosen in a search" not in answer(comparison)[0]
    assert any(line.startswith("In 2 of 3 cells, scores, curves and") for line in method(comparison))
    topics = [note.topic for note in comparison.notes]
    assert "Searched with different epochs" in topics


def test_a_newer_run_of_the_same_takes_no_confirmation_away(confirmed: Path, tmp_path: Path) -> None:
    shutil.copytree(confirmed / chosen(confirmed)["he / adam"]["confirmed"][0], tmp_path / "newer")
    (tmp_path / "newer" / RUN_FILE).touch()
    (comparison,) = compared([confirmed, tmp_path / "newer"])[1].values()
    assert comparison.summary["n"].tolist() == [3, 3]
    assert "Runs set aside" in [note.topic for note in comparison.notes]


def test_a_cell_that_is_not_confirmed_yet_has_its_name(confirmed: Path, summarise: Report) -> None:
    for run in chosen(confirmed)["he / sgd"]["confirmed"]:
        (confirmed / run / RUN_FILE).unlink()
    summary = summarise()
    assert summary[["init", "optim", "n"]].to_numpy().tolist() == [["he", "adam", 3], ["he", "sgd", 0]]


def test_while_none_is_confirmed_the_search_is_reported_on(confirmed: Path, summarise: Report) -> None:
    for run in chosen(confirmed)["he / adam"]["confirmed"] + chosen(confirmed)["he / sgd"]["confirmed"]:
        (confirmed / run / RUN_FILE).unlink()
    assert summarise()["n"].tolist() == [2, 2]
    (comparison,) = compared([confirmed])[1].values()
    assert comparison.pairs["reason"].eq("not confirmed").all()


def test_select_of_a_narrower_search_keeps_the_wider_selection(tmp_path: Path) -> None:
    def written(plan: Any, optimizers: Sequence[str], rates: Sequence[float]) -> dict[str, Choice]:
        jobs = [[f"optim={optim}", f"optim.lr={lr}", "seed=0"] for optim in optimizers for lr in rates]
        request = requested(tmp_path, plan, jobs, {"seed": [5, 6]})
        write_results([job for job in request.search if job.status() is None], lambda job: job.config["optim"]["lr"])
        records.write(request, state_by_disk(request), "a command")
        return read_choices(tmp_path / CHOICES_FILE)

    with planning(tmp_path) as plan:
        wide = written(plan, ("adam", "sgd"), (0.1, 0.2, 0.3))
        assert [choice.setting for choice in wide.values()] == [{"optim.lr": 0.3}] * 2
        assert written(plan, ("adam",), (0.1, 0.3)) == wide
        assert written(plan, ("adam",), (0.1, 0.2)) == wide  # the selected rate is not in this search
        wider = written(plan, ("adam",), (0.1, 0.2, 0.3, 0.4))
        (gone,) = tmp_path.glob("he_adam_lr0.4_seed0-*")
        shutil.rmtree(gone)
        without = written(plan, ("adam",), (0.1, 0.2, 0.3))
    assert wider["he / adam"].setting == {"optim.lr": 0.4}
    assert wider["he / sgd"] == wide["he / sgd"]
    assert without["he / adam"].setting == {"optim.lr": 0.3}  # what was selected has no result anymore
    assert [len(choice.confirmed) for choice in without.values()] == [2, 2]


@pytest.mark.parametrize(
    "change",
    [{"n": math.inf}, {"jobs": [{}]}, {"jobs": "abc"}, {"mean": []}, {"setting": 3}, {"mean": "high"}],
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
        content["he / adam"]["candidates"][0] |= change
        (tmp_path / CHOICES_FILE).write_text(json.dumps(content))
        with pytest.raises(Unreadable, match=r"^choices\.json: not one of this project's"):
            read_choices(tmp_path / CHOICES_FILE)
        records.write(request, state_by_disk(request), "a command")
    assert (tmp_path / CHOICES_FILE).read_text() == whole
