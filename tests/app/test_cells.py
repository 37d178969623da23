"""Compared keys: validation, and their use by sweeps and reports."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_mlp.analysis.roles import margin_of
from mnist_mlp.app import dry_run, records
from mnist_mlp.app.cells import check_compared, read_compare
from mnist_mlp.app.sweep import check
from mnist_mlp.base.choices import CHOICES_FILE, read_choices
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interim import InterimRecord, SequentialPlan, SequentialRecord, write_looks
from mnist_mlp.base.sweep_file import CONFIRM, SEARCH, SWEEP_FILE, read_sweep
from mnist_mlp.report import compare_sweeps
from mnist_mlp.sweeps.jobs import Job
from tests.helpers.commands import IN_PROCESS, NO_REPORT, SMALLER, Command
from tests.helpers.sweeping import planning, requested, state_by_disk, write_results

BY = ["optim", "model.hidden"]
NINE = SequentialPlan(margin=None, max_seeds=9, batch=2)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("init", "compare=init: expected a list of keys, such as"),
        ([], "compare=[]: expected a list of keys"),
        (["init", 3], "compare=['init', 3]: expected a list of keys"),
        (["init", "init"], "expected different keys, but init is listed twice"),
        (["optimm"], "optimm: unknown key. Did you mean optim? Known keys: batch_size, data.normalize,"),
        (["hidden"], "hidden: unknown key. Did you mean model.hidden?"),
        (["seed"], "compare: seed: expected keys that are not replicates"),
        (["seeds.weights"], "compare: seeds.weights: expected keys that are not replicates"),
        (["device"], "compare: device: expected keys that change results"),
        (["data"], "expected keys such as data.train_size"),
        (["depth.x"], "depth.x: unknown key. Did you mean depth?"),
        (["depth", "model.hidden"], "compare=['depth', 'model.hidden']: expected either model.hidden or depth and"),
    ],
)
def test_read_compare_invalid_keys_raises(value: Any, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        read_compare(value)
    assert "\n" not in str(caught.value)


def test_check_compared_unknown_key_or_key_of_the_data_raises(tmp_path: Path) -> None:
    with planning(tmp_path) as plan:
        jobs = plan([["optim=adam"], ["optim=sgd", "optim.momentum=0.5"]])
        assert check_compared(jobs, ["init", "optim", "optim.momentum"]) == ["init"]
        with pytest.raises(
            UserError, match=r"optim\.momentun: unknown key\. Did you mean optim\.momentum\? Known keys: batch_size"
        ):
            check_compared(jobs, ["optim", "optim.momentun"])
        with pytest.raises(UserError, match="compare: depth: expected networks with hidden layers of one width"):
            check_compared(jobs, ["optim", "depth"])
        others = [replace(job, data_digest="other") for job in jobs]
        assert check_compared(jobs, ["data.train_size"]) == ["data.train_size"]
        with pytest.raises(UserError, match=r"data\.train_size: expected keys that do not change the test images"):
            check_compared([*jobs, *others], ["data.train_size"])


def accuracy(job: Job) -> float:
    """Return an accuracy that rises with the layers and the learning rate, with noise by seed."""
    layers = len(job.config["model"]["hidden"])
    noise = (job.config["seed"] * 7919 + layers * 31 + len(job.choices["optim"])) % 11 / 1e4
    return float(0.5 + 0.1 * layers + job.config["optim"]["lr"] + noise)


def test_sweep_with_compare_keys_selects_and_reports_by_them(tmp_path: Path) -> None:
    jobs = [
        [f"optim={optim}", f"model.hidden={hidden}", f"optim.lr={lr}", f"seed={seed}"]
        for optim in ("adam", "sgd")
        for hidden in ("[16]", "[16,16]")
        for lr in (0.1, 0.2)
        for seed in (0, 1, 2)
    ]
    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, jobs, True, compare=BY)
        check(request, force=False)
        assert request.tuned == ["optim.lr"]
        outline = "\n".join(dry_run.describe(request, state_by_disk(request), request.search))
        assert "cells       4, compared by optim (2), model.hidden (2)" in outline
        assert "confirm     12 jobs, once the search is complete" in outline
        for phase in (SEARCH, CONFIRM):
            write_results(state_by_disk(request).phases[phase], accuracy)
        records.write(request, state_by_disk(request), "a command")
        with pytest.raises(UserError, match=r"compare=\[init,optim\]: expected \[optim,model\.hidden\]"):
            check(requested(tmp_path, plan, jobs, True), force=False)
    assert read_sweep(tmp_path / SWEEP_FILE).compare == BY
    cells = {f"{optim} / model.hidden={hidden}" for optim in ("adam", "sgd") for hidden in ("[16]", "[16, 16]")}
    assert read_choices(tmp_path / CHOICES_FILE).keys() == cells
    ((_, comparison),) = compare_sweeps([tmp_path])[1].items()
    assert {*comparison.summary["cell"]} == cells
    assert comparison.tuned == ["optim.lr"]
    assert comparison.summary["selected"].tolist() == ["3/3"] * 4
    verdicts = comparison.pairs.set_index(["a", "b"])["verdict"]
    assert verdicts["adam / model.hidden=[16, 16]", "adam / model.hidden=[16]"] == "better"
    with pytest.raises(
        UserError,
        match=r"^--by init,optim: expected --by optim,model\.hidden, .* one selection per optim and model\.hidden",
    ):
        compare_sweeps([tmp_path], by=["init", "optim"])


def test_sweep_with_margin_records_it_for_the_report(tmp_path: Path) -> None:
    jobs = [[f"optim={optim}", f"seed={seed}"] for optim in ("adam", "sgd") for seed in (0, 1, 2)]
    with planning(tmp_path) as plan:
        tiny, wide = (replace(requested(tmp_path, plan, jobs), margin=margin) for margin in (0.001, 0.05))
        with pytest.raises(UserError, match=r"margin=0\.1: less than one of 299 test images"):
            check(tiny, force=False)
        check(wide, force=False)
        noise = {"adam": (0, 2, 4), "sgd": (1, 2, 3)}  # thousandths
        of = state_by_disk(wide).phases[SEARCH]
        write_results(of, lambda job: 0.9 + noise[job.choices["optim"]][job.config["seed"]] / 1000)
        records.write(wide, state_by_disk(wide), "a command")
    assert read_sweep(tmp_path / SWEEP_FILE).margin == 0.05

    def verdicts(margin: float | None, *others: Path) -> list[str]:
        (comparison,) = compare_sweeps([tmp_path, *others], margin=margin)[1].values()
        return list(comparison.pairs["verdict"])

    assert (verdicts(None), verdicts(0.0015)) == (["equivalent"], ["inconclusive"])  # the option overrides the sweep
    none = replace(read_sweep(tmp_path / SWEEP_FILE), margin=None)
    with pytest.raises(UserError, match=r"same equivalence margin: a has 5; b has none\. Set one for all with --marg"):
        margin_of({"a": read_sweep(tmp_path / SWEEP_FILE), "b": none}, None)
    assert margin_of({"a": none}, None) is None


def test_report_with_compared_conditions_has_one_section(command: Command, tmp_path: Path) -> None:
    given = ("-m", "epochs=1,2", "seed=0,1", "hydra.sweeper.compare=[epochs]", *SMALLER, IN_PROCESS, NO_REPORT)
    listed = command(
        "run.py", *given, "hydra.sweep.dir=multirun/here", "hydra.sweeper.compare=[epochs,init]", "dry_run=true"
    )
    assert re.search(r"^ +one value only: init$", listed.stdout, re.M)
    command("run.py", *given, "hydra.sweep.dir=multirun/here")
    ((_, comparison),) = compare_sweeps([tmp_path / "multirun/here"])[1].items()
    assert sorted(comparison.summary["cell"]) == ["epochs=1", "epochs=2"]


def test_check_after_interim_analysis_other_candidates_raises(tmp_path: Path) -> None:
    def searched(rates: tuple[float, ...]) -> list[list[str]]:
        return [[f"optim={o}", f"optim.lr={lr}", f"seed={s}"] for o in ("adam", "sgd") for lr in rates for s in (0, 1)]

    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, searched((0.1, 0.2)), True, NINE)
        for phase in (SEARCH, CONFIRM):
            write_results(state_by_disk(request).phases[phase], accuracy)
        state = state_by_disk(request)
        records.write(request, state, "a command")
        assert state.looks is not None
        taken = InterimRecord([0, 1, 2], 0.01, ("he / adam", "he / sgd"), "", {})
        write_looks(tmp_path, SequentialRecord(plan=NINE, given=[0, 1], jobs=state.looks.jobs, looks=[taken]))
        check(request, force=False)
        for rates, what in (
            ((0.1, 0.2, 0.3), "4 jobs of the search are new"),
            ((0.05, 0.2), "4 jobs of the search are new"),
        ):
            with pytest.raises(UserError, match=what):
                check(requested(tmp_path, plan, searched(rates), True, NINE), force=False)
        narrower = [*searched((0.1, 0.2))[:-1], searched((0.1,))[0]]
        with pytest.raises(UserError, match=r"1 jobs of the search are missing, such as he_sgd_lr0\.2_seed1"):
            check(requested(tmp_path, plan, narrower, True, NINE), force=False)
