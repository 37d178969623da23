"""Study files: settings are applied or refused, and a broken file stops its own command only."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from mnist_mlp.base.schema import EXPERIMENT
from tests.helpers.in_process import Answer, planned

SMALL = ("data=digits", "data.train_size=64", "epochs=1")
Plan = Callable[..., Answer]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Return a function that plans `experiment=mine` for a study file of given content."""
    monkeypatch.setitem(ConfigStore.instance().repo, EXPERIMENT, {})
    (tmp_path / "studies").mkdir()

    def plan(content: str | bytes, *arguments: str) -> Answer:
        (tmp_path / "studies/mine.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        return planned(
            *(arguments or ["experiment=mine"]), *SMALL, directory=tmp_path, experiments=tmp_path / "studies"
        )

    return plan


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- a\n- b", "expected a mapping of keys to values"),
        ("a:\n\t- b", "while scanning for the next token found character"),
        ("3", "Invalid loaded object type: int"),
        ("hydra: 3", "expected a mapping of keys to values, also below hydra"),
        ("hydra: {mode: RUN}", "hydra.mode=RUN: expected no mode"),
        ("a: ${b", "no viable alternative at input"),
        (b"\xff\xfe", "'utf-8' codec can't decode byte"),
        ("[" * 500, "maximum recursion depth exceeded"),
    ],
)
def test_run_broken_study_file_is_named_with_its_path(study: Plan, tmp_path: Path, content: str, words: str) -> None:
    answer = study(content)
    assert answer.err.startswith(f"error: experiment=mine: {tmp_path}/studies/mine.yaml: {words}")
    assert (answer.status, answer.err.count("\n")) == (1, 1)


def test_run_without_the_broken_study_is_unaffected(study: Plan) -> None:
    assert "would train" in study("- a", "seed=1").out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "hydra: {launcher: {n_jobs: x}}",
            "experiment=mine: hydra.launcher.n_jobs: Value 'x' of type 'str' could not be",
        ),
        ("defaults: 3", "Invalid defaults list in 'experiment/mine'"),
        ("hydra: {sweeper: null}", "Hydra sweeper is not configured"),
        ('hydra: {sweeper: {params: {seed: "0,"}}}', "seed=0,: expected an override in Hydra's syntax"),
        ('hydra: {sweeper: {params: {optim: "adam,0.1"}}}', "optim=0.1: expected an option of the group optim."),
        ("optim: null", "experiment=mine: optim: expected settings"),
        (
            "hydra: {sweeper: {gird: 3}}",
            "experiment=mine: hydra.sweeper.gird: unknown key. Did you mean hydra.",
        ),
    ],
)
def test_run_invalid_study_content_exits_with_one_line(study: Plan, content: str, words: str) -> None:
    answer = study(content)
    assert answer.err.startswith(f"error: {words}")
    assert answer.err.count("\n") == 1


def test_study_sets_directories_logging_launcher_and_options(study: Plan) -> None:
    answer = study(
        "defaults: [override /hydra/launcher: basic, override /optim: sgd]\n"
        "hydra:\n"
        "  sweep: {dir: elsewhere, subdir: 'named_${seed}'}\n"
        "  job_logging: {formatters: {simple: {format: 'mine %(message)s'}}}\n"
        "  sweeper: {params: {seed: '0,1'}}\n"
    )
    assert "elsewhere: 2 jobs, 0 skipped" in answer.out
    assert "to do  named_0  seed=0" in answer.out
    launcher = "defaults: [override /hydra/launcher: basic]\n"
    logging = "hydra: {job_logging: {formatters: {simple: {format: mine}}}}"
    shown = study(launcher + logging, "experiment=mine", "--cfg", "hydra").out
    assert "BasicLauncher" in shown
    assert "format: mine\n" in shown
    assert "JoblibLauncher" in study(launcher, "experiment=mine", "hydra/launcher=joblib", "--cfg", "hydra").out


def test_study_from_config_dir_without_multirun_flag_is_refused(study: Plan, tmp_path: Path) -> None:
    (tmp_path / "more/experiment").mkdir(parents=True)
    path = tmp_path / "more/experiment/theirs.yaml"
    content = "hydra: {sweeper: {params: {seed: '0,1'}}}\n"
    path.write_text(f"# @package _global_\n{content}")
    command = ("--config-dir", "more", "experiment=theirs")
    assert study("", *command).err.startswith(
        "error: experiment=theirs: expected -m. Studies are sweeps, but those from --config-dir"
    )
    assert "multirun/theirs: 2 jobs" in study("", *command, "-m").out
    assert "would train" in study("", *command, "hydra.mode=RUN").out
    for header in ("", "defaults: [override /hydra/launcher: basic]\n"):
        path.write_text(header + content)
        assert "# @package _global_" in study("", *command, "-m").err
