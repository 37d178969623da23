"""Any command line gives a plan or one message without a traceback."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnist_mlp.app.cli import flags_first
from mnist_mlp.base.schema import GROUPS, describe
from tests.helpers.commands import SMALLER
from tests.helpers.in_process import planned

COMMAND_LINES = int(os.environ.get("COMMAND_LINES", "25"))  # examples of the property test; 400 take one to two minutes
OPTION = "expected an option of the group"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("optim=0.1", f"optim=0.1: {OPTION} optim."),
        ("model=[8]", f"model=[8]: {OPTION} model."),
        ("-m optim=[sgd,adam]", f"optim=[sgd,adam]: {OPTION} optim."),
        ("-m schedule=cosine,0.1", f"schedule=cosine,0.1: {OPTION} schedule."),
        ("experiment=null", f"experiment=null: {OPTION} experiment."),
        ("optim=mine/fast", "optim=mine/fast: unknown option. Known options: adadelta, "),
        ("model.hidden=[[16,8],[4]]", "model.hidden=[[16, 8], [4]]: expected a list such as [512,256] of whole"),
        ("+model.foo={a:1,3:2}", "model.foo={'a': 1, 3: 2}: expected string keys"),
        ("optim.eps=${oc.env:EPS_THAT_IS_NOT_SET}", "optim.eps: KeyError raised while resolving interpolation: "),
        ("seed=${seed}", "seed: Recursive interpolation detected"),
        ("+optim=sgd", "+optim=sgd: expected optim=OPTION. Groups cannot be added or removed"),
        ("~data", "~data: expected data=OPTION"),
        ("optim=adam.yaml", "optim=adam.yaml: expected the name of the option, optim=adam"),
        ("experiment=smoke.yaml", "experiment=smoke.yaml: expected the name of the option, experiment=smoke"),
        ("experiment=smoke,smoke", "experiment=smoke,smoke: expected one study"),
        (
            "model.hidden=64,64",
            "model.hidden=64,64: expected one value, or -m for a sweep. A list is written as model.hidden=[64",
        ),
        (
            "-m seed=[0,1]",
            "seed=[0,1]: expected a whole number, at least 0. Several values to sweep over are written as",
        ),
        ("hydra.sweep.dir=multirun/mine", "hydra.sweep.dir: expected -m"),
        ("hydra.run.dir=", "hydra.run.dir=: expected a directory"),
        ("-m hydra.sweep.dir= seed=0,1", "hydra.sweep.dir=: expected a directory"),
        ("force=changed", "force=changed: expected true or false for a single run"),
        ("force='true'", "force=true: expected false or true or changed, not the string 'true'"),
        ("~seed", "~seed: expected an optional key. This one is required."),
        ("~data.val_size", "~data.val_size: expected an optional key. This one is required."),
        ("=3", "=3: Config group override must be a string"),
        ("-m seed=range(0)", "seed=range(0): expected at least one value, but found none"),
        ("-m seed=range(1,2,0)", "seed=range(1,2,0): expected at least one value"),
        ("-m optim=glob(x*)", "optim=glob(x*): expected at least one value"),
        ("-m seed=range(0,1e9)", "seed=range(0,1e9): expected a sweep of at most 1,000,000 jobs"),
        ("-m hydra.sweeper.params.seed=0,1", "hydra.sweeper.params.seed=0,1: expected values without hydra.sweeper"),
        ("-m optim.lr=interval(-1e308,1e308) hydra.sweeper.trials=2", "optim.lr=interval(-1e308,1e308): expected "),
        ("~hydra.sweeper.compare", "Error merging override ~hydra.sweeper.compare: "),
    ],
)
def test_run_invalid_command_exits_with_one_line(tmp_path: Path, command: str, words: str) -> None:
    answer = planned("data=digits", "data.train_size=64", *command.split(), directory=tmp_path)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith(f"error: {words}")
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_dry_run_with_basic_sweeper_trains_nothing(tmp_path: Path) -> None:
    basic = ("hydra/sweeper=basic", "hydra/launcher=basic", "~hydra.callbacks.checks_and_report")
    for flags in (("-m", "seed=0,1"), ()):
        assert planned(*flags, *basic, *SMALLER, directory=tmp_path).status == 0
    assert list(tmp_path.rglob("metrics.csv")) == []


def test_run_flag_between_overrides_is_applied(tmp_path: Path) -> None:
    answer = planned("optim=adam,sgd", "-m", "seed=0,1", *SMALLER, directory=tmp_path)
    assert "4 jobs, 0 skipped" in answer.out


@pytest.mark.parametrize(
    ("given_", "ordered"),
    [
        ("a=1 -m b=2", "-m a=1 b=2"),
        ("a=1 --config-dir x b=2 -m", "--config-dir x -m a=1 b=2"),
        ("a=1 --info plugins b=2", "--info=plugins a=1 b=2"),
        ("a=1 --info b=2", "--info=all a=1 b=2"),
        ("~a --cfg job -p b", "--cfg job -p b ~a"),
        ("a=1 --cfg", "--cfg a=1"),
        ("a=1 --config-di x b=2", "--config-di x a=1 b=2"),
        ("a=1 --config-dir=x b=2", "--config-dir=x a=1 b=2"),
    ],
)
def test_flags_first_keeps_values_and_order(given_: str, ordered: str) -> None:
    assert flags_first(given_.split()) == ordered.split()


def test_grids_option_in_subdirectory_expands(tmp_path: Path) -> None:
    (tmp_path / "more/optim/mine").mkdir(parents=True)
    (tmp_path / "more/optim/mine/fast.yaml").write_text("_target_: torch.optim.SGD\n_partial_: true\nlr: 1\n")
    grids = "hydra.sweeper.grids={mine/fast:{optim.lr:[0.1,1,10]}}"
    own = ("--config-dir", "more", "-m", "optim=mine/fast,adam", grids)
    answer = planned(*own, *SMALLER, directory=tmp_path)
    assert "4 jobs, 0 skipped" in answer.out, answer.err
    assert "Known optimizers" not in answer.err


KEYS = [key for key, _ in describe() if key not in ("data.root", "dry_run")]
OTHERS = ["optim.lrr", "lr", "seeed", "optim.lr.x", "hydra", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.mode"]
SWEEPER = ["grids", "trials", "compare", "confirm", "select", "until_decided", "max_seeds", "batch", "margin", "params"]
WORDS = ["adam", "sgd", "he", "lecun", "cosine", "digits", "mlp", "relu", "smoke", "null", "true", "nan", "x", "ä", ""]
NUMBERS = ["0", "1", "-1", "0.1", "1e-3", "1e400", "3.5", "99999999999999999999", "1_000"]
ODD = [
    "${seed}",
    "${nothing}",
    "${oc.env:X}",
    "'",
    '"',
    "a b",
    "a=b",
    "[",
    "{",
    "\\",
    "%",
    "@",
    "interval(",
    "?",
    "***",
]
values = st.recursive(
    st.sampled_from([*WORDS, *NUMBERS, *ODD]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda of: f"[{','.join(of)}]"),
        st.lists(inner, min_size=2, max_size=3).map(",".join),
        st.tuples(st.sampled_from([*KEYS, *WORDS, "1"]), inner).map(lambda of: f"{{{of[0]}:{of[1]}}}"),
        st.tuples(st.sampled_from(["interval", "range", "choice", "int", "float", "str", "sort"]), inner, inner).map(
            lambda of: f"{of[0]}({of[1]},{of[2]})"
        ),
        inner.map(lambda of: f"tag(log,interval({of},1))"),
        st.tuples(st.sampled_from("'\""), inner).map(lambda of: f"{of[0]}{of[1]}{of[0]}"),
    ),
    max_leaves=4,
)
keys = st.sampled_from([*KEYS, *GROUPS, "experiment", *OTHERS, *(f"hydra.sweeper.{key}" for key in SWEEPER)])
overrides = st.builds("{}{}{}{}".format, st.sampled_from(["", "", "", "+", "++", "~"]), keys, st.just("="), values)
lines = st.tuples(st.lists(overrides, min_size=1, max_size=3), st.booleans(), st.integers(0, 3)).map(
    lambda of: [*of[0][: of[2]], *(["-m"] if of[1] else []), *of[0][of[2] :]]
)


@settings(
    max_examples=COMMAND_LINES,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(line=lines)
def test_run_random_command_gives_plan_or_one_message(tmp_path: Path, line: list[str]) -> None:
    answer = planned("data=digits", "data.train_size=64", "epochs=1", *line, directory=tmp_path)
    if answer.status == 0:
        assert any(words in answer.out for words in ("would train into", "cells  "))
    else:
        assert answer.err.startswith("error: ")
        assert "Traceback" not in answer.err
        assert answer.err.count("\n") <= 5
    assert list(tmp_path.iterdir()) == []
