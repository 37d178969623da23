"""Configuration: messages about invalid settings, roles of keys, and names of jobs."""

import re
import string
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mnist_mlp.app.messages import explain
from mnist_mlp.app.register import register
from mnist_mlp.base.configuration import plain
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.schema import EXPERIMENT, Role, check, describe, role_of
from mnist_mlp.build import trial
from mnist_mlp.sweeps import job_id
from tests.helpers.commands import Command
from tests.helpers.composing import _composed, composed, job_name
from tests.helpers.options import OPTIONS
from tests.helpers.paths import DATA, ROOT

register(ROOT / "experiments")


DEFAULTS: dict[str, Any] = plain(composed())
NO_SEED = "unknown key."
SEEDS = "Known keys: seeds.weights, seeds.batches, seeds.dropout, seeds.modules"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim=adamm", ["optim=adamm", "adagrad", "radam", "sgd"]),
        ("optim.lrr=1", ["optim.lrr=1", "Did you mean optim.lr?", "betas", "torch.optim.Adam"]),
        ("+optim.lrr=1", ["optim.lrr=1", "Did you mean optim.lr?", "betas", "torch.optim.Adam"]),
        ("lr=0.1", ["lr=0.1", "Did you mean optim.lr?"]),
        ("epochs=abc", ["epochs=abc", "a whole number in [0, "]),
        ("epochs=-1", ["epochs=-1", "a whole number in [0, 2147483648)"]),
        ("batch_size=0", ["batch_size=0", "a whole number in [1, "]),
        ("data.val_size=70000", ["data.val_size=70000", "0 to 59999"]),
        ("model.dropout=1.5", ["model.dropout=1.5", "a number in [0, 1)"]),
        ("model.activation=reluu", ["model.activation=reluu", "relu", "softsign"]),
        ("init.distribution=gaussian", ["init.distribution=gaussian", "uniform, normal"]),
        ("seed=-1", ["seed=-1", "a whole number, at least 0"]),
        ("optim._target_=torch.optim.Nothing", ["optim._target_=torch.optim.Nothing", "dotted path"]),
        ("epoch=3", ["epoch=3", "Did you mean epochs?", "batch_size"]),
        ("force=some", ["force=some: expected false or true or changed"]),
        ("force=1", ["force=1: expected false or true or changed"]),
    ],
)
@pytest.mark.usefixtures("real_mnist")
def test_explain_invalid_setting_gives_one_line(
    monkeypatch: pytest.MonkeyPatch, override: str, words: list[str]
) -> None:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    with pytest.raises((ConfigError, HydraException)) as caught:  # noqa: PT012  # any of these may raise
        tried = plain(_composed.__wrapped__(override))
        check(tried)
        trial.check(tried)
    message = explain(caught.value)
    assert message
    assert [word for word in words if word not in message] == []
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.lrr=1", "Did you mean optim.lr?"),  # by the program
        ("epochs=abc", "a whole number in [0, 2147483648)"),  # by Hydra
        ("optim=null", "optim"),  # by Python
    ],
)
def test_run_invalid_setting_exits_with_one_line(command: Command, tmp_path: Path, override: str, words: str) -> None:
    done = command("run.py", override, status=1)
    assert "Traceback" not in done.stdout + done.stderr
    assert re.fullmatch(f"error: .*{re.escape(words)}.*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []  # nothing was started


@pytest.mark.usefixtures("real_mnist")
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.train_size=60000", ["data.train_size=60000", "1 to 55000"]),
        ("init.bias=uniform", ["init.bias=uniform", "default, zeros, normal"]),
        ("init.bias=normal", ["init.bias_std=null", "a finite number greater than 0 for bias=normal"]),
        ("init.bias_std=0.1", ["init.bias_std=0.1", "expected null for bias=default"]),
        ("init.bias_std=0", ["init.bias_std=0.0", "null or a number greater than 0"]),
        ("+init.batch=3", ["init.batch=3", "unknown key", "scale"]),
        ("+init.bia=zeros", ["init.bia=zeros", "unknown key. Did you mean init.bias?", "init.bias, init.bias_std"]),
        (
            "+init.std=0.1",
            ["init.std=0.1: unknown key. Known keys: init.scale, init.mode, init.distribution, init.bias"],
        ),
        (
            "+schedule.warmupp=0.1",
            ["schedule.warmupp", "Did you mean schedule.warmup? Known keys: schedule.warmup (with"],
        ),
        (
            "+optim.decay_biasses=false",
            ["optim.decay_biasses", "Did you mean optim.decay_biases? Known keys: optim.lr"],
        ),
        ("model.input_dropout=1", ["model.input_dropout=1.0", "a number in [0, 1)"]),
        ("device=tpu", ["device=tpu", "auto", "cpu"]),
        ("optim.betas=[0.9,1.5]", ["optim.betas=[0.9, 1.5]", "Invalid beta parameter at index 1"]),
        ("optim.amsgrad=maybe", ["optim.amsgrad=maybe", "true or false"]),
        ("optim.fused=maybe", ["optim.fused=maybe", "true or false"]),
        ("optim.weight_decay=nan", ["optim.weight_decay=nan", "a finite number"]),
        ("optim.betas=[0.9]", ["optim.betas=[0.9]", "a list of 2 finite numbers"]),
        ("init.scale=true", ["init.scale=True", "a finite number"]),
        ("threads=100000", ["threads=100000", "a whole number in [1, 1025)"]),
        (
            "data._target_=builtins.dict",
            ["data._target_=builtins.dict", "expected a class or function that returns Dataset, not dict"],
        ),
        ("model.hidden=[0]", ["model.hidden=[0]", "whole numbers in [1, 1048576)"]),
        ("batch_size=1", ["batch_size=1", "at least 2", "model.batch_norm=false"]),
    ],
)
def test_trial_check_unusable_setting_raises_with_its_key(
    monkeypatch: pytest.MonkeyPatch, override: str, words: list[str]
) -> None:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    with pytest.raises(ConfigError) as caught:
        trial.check(plain(composed(override)))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.usefixtures("real_mnist")
@pytest.mark.parametrize("override", ["init.std=-1", "init.std=0", "init.mean=nan"])
def test_trial_check_invalid_normal_init_raises(monkeypatch: pytest.MonkeyPatch, override: str) -> None:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    with pytest.raises(ConfigError, match=rf"^{override}.*: expected a (finite )?number"):
        trial.check(plain(composed("init=normal", override)))


def test_run_absent_cuda_device_is_refused(command: Command) -> None:
    import torch

    if torch.cuda.is_available():
        assert "cuda:99" in command("run.py", "device=cuda:99", status=1).stderr
    else:
        assert "device=cuda: expected one of auto, " in command("run.py", "device=cuda", status=1).stderr


@pytest.mark.parametrize(
    "sweep_over", ["seed=0,-1", "optim=sgd,adamm", "optim.momentum=0.9 optim=sgd,adam", "epochs=1,x"]
)
def test_sweep_with_one_invalid_job_trains_nothing(command: Command, tmp_path: Path, sweep_over: str) -> None:
    done = command("run.py", "-m", *sweep_over.split(), status=1)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_help_imports_no_heavy_libraries(fresh: Command) -> None:
    done = fresh("-X", "importtime", "run.py", "--help")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"torch", "pandas", "matplotlib", "scipy", "sklearn"}


def test_help_lists_every_option_and_setting(command: Command) -> None:
    text = command("run.py", "--help").stdout
    for group, option in OPTIONS:
        line = next(line for line in text.splitlines() if line.startswith(f"{group}:"))
        assert option in line.replace(",", "").split()
    assignments = {line.split()[0] for line in text.splitlines() if re.match(r"  [a-z_.0-9]+=", line)}
    assert {assignment.partition("=")[0] for assignment in assignments} >= {key for key, _ in describe()}
    assert {"seed=0", "epochs=10", "batch_size=32", "device=auto", "optim.lr=0.01", "data.val_size=5000"} <= assignments


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_check_every_option_passes(group: str, option: str) -> None:
    tree = plain(composed(f"{group}={option}"))
    check(tree)
    assert tree[group]["_target_"]


def test_config_defaults_equal_the_tutorial() -> None:
    tree = plain(composed())
    assert tree["model"] == {
        "_target_": "mnist_mlp.network.MLP",
        "hidden": [512, 256],
        "activation": "relu",
        "batch_norm": True,
        "dropout": 0.5,
        "input_dropout": 0.0,
    }
    assert (tree["optim"]["_target_"], tree["optim"]["lr"]) == ("torch.optim.Adam", 0.01)
    assert (tree["init"]["scale"], tree["init"]["distribution"]) == (2.0, "uniform")
    assert (tree["epochs"], tree["batch_size"]) == (10, 32)


@pytest.mark.parametrize(
    "override", ["device=cpu", "threads=2", "progress=false", "data.root=/elsewhere", "log_interval=7"]
)
def test_job_name_ignores_settings_without_influence(override: str) -> None:
    assert role_of(override.partition("=")[0]) is Role.IRRELEVANT
    assert job_name(override) == job_name()


def test_role_of_every_key_is_as_listed() -> None:
    roles = {key: role_of(key) for key, _ in describe()}
    measured = {"train_size", "val_size", "split_seed"}
    assert {key for key, role in roles.items() if role is Role.REPLICATE} == {
        *("seed", "seeds.weights", "seeds.batches", "seeds.dropout", "seeds.modules")
    }
    assert {key for key, role in roles.items() if role is Role.CONDITION} == {
        *("epochs", "tf32"),
        *(f"data.{key}" for key in measured),
    }
    assert {key for key, role in roles.items() if role is Role.IRRELEVANT} == {
        *("data.root", "log_interval", "device", "threads", "progress", "force", "fail_fast", "dry_run")
    }
    # Arguments of user-defined targets: those of a data set are conditions, all others are tunable.
    own = {
        "optim.mine": Role.TUNABLE,
        "init.mine.deep": Role.TUNABLE,
        "model.mine": Role.TUNABLE,
        "model": Role.TUNABLE,
    }
    assert {key: role_of(key) for key in own} == own
    assert role_of("data.mine") is role_of("data._target_") is Role.CONDITION


def test_job_name_ignores_stated_defaults() -> None:
    assert job_name("optim=adam", "seed=0", "optim.lr=1e-2") == job_name()


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "seeds.modules=1",
        "optim=sgd",
        "optim.lr=0.1",
        "optim.betas=[0.9,0.98]",
        "init.bias=zeros",
        "data.split_seed=1",
        "epochs=3",
    ],
)
def test_job_name_changes_with_settings_with_influence(override: str) -> None:
    assert role_of(override.partition("=")[0]) is not Role.IRRELEVANT
    assert job_name(override) != job_name()


def test_job_name_of_equal_numbers_typed_differently_is_equal() -> None:
    assert job_name("optim.weight_decay=0", "init.scale=2") == job_name("optim.weight_decay=0.0", "init.scale=2.0")
    assert job_name("optim._partial_=false") == job_name()
    assert job_name("seed=9007199254740993") != job_name("seed=9007199254740992")


def test_job_name_of_options_with_equal_content_differs() -> None:
    plain_sgd, no_momentum = composed("optim=sgd"), composed("optim=momentum", "optim.momentum=0")
    assert plain(plain_sgd) == plain(no_momentum)
    assert job_name("optim=sgd") != job_name("optim=momentum", "optim.momentum=0")


@given(st.integers(max_value=-1))
def test_check_negative_seed_raises(seed: int) -> None:
    with pytest.raises(ConfigError, match=rf"^seed={seed}: expected a whole number, at least 0$"):
        check(DEFAULTS | {"seed": seed})


@given(st.one_of(st.floats(max_value=-1e-9), st.floats(min_value=1), st.just(float("nan"))))
def test_check_dropout_outside_its_range_raises(dropout: float) -> None:
    with pytest.raises(ConfigError, match=r"^model\.dropout="):
        check(DEFAULTS | {"model": DEFAULTS["model"] | {"dropout": dropout}})


@pytest.mark.parametrize("value", ["a/b", "a b", "it's", '"quoted"', "[1,2,3]", "../..", "x" * 300, "ä€😀", ".", "-"])
def test_job_name_of_unusual_value_is_a_safe_directory_name(value: str) -> None:
    whole = composed()
    whole.hydra.runtime.choices.optim = value
    whole.model.activation = value
    name = job_id.job_name(whole)
    assert len(name) <= 100
    assert set(name) <= set(string.ascii_letters + string.digits + "-_.")
    assert name[0] in string.ascii_letters + string.digits
    assert name != job_name()


def test_sweep_launcher_not_installed_names_the_extra(command: Command) -> None:
    absent = "hydra.launcher._target_=hydra_plugins.hydra_absent_launcher.absent_launcher.AbsentLauncher"
    message = command("run.py", "-m", "seed=0,1", absent, status=1).stderr
    assert message == "error: hydra/launcher: absent is not installed. Install it with pip install -e '.[absent]'\n"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("hydra/sweeper=optuna", "it is not installed. Install it with pip install -e '.[optuna]'"),
        ("hydra/sweeper=optun", "unknown option. Known options: basic, grid"),
        (
            "init=he,lecun",
            "expected one value, or -m for a sweep. A list is written as init=[he,lecun], a string with a comma as ",
        ),
        ("epochs =3", "expected KEY=VALUE without spaces around the ="),
        ("epochs", "expected KEY=VALUE without spaces around the ="),
        ("experimnt=smoke", "unknown key. Did you mean experiment? Known keys: data, model, "),
        ("optm.lr=3", "unknown key. Did you mean optim.lr? Known keys: data, model, "),
        ("optm.betas=3", "unknown key. Did you mean optim? Known keys: data, model, "),
        ("seeds.weight=3", f"{NO_SEED} Did you mean seeds.weights? {SEEDS}"),
        ("seeds.weights=x", "expected null or a whole number, at least 0"),
        ("seeds=3", "expected {KEY:SEED}, with any of the keys weights, batches, dropout, modules"),
        (
            "hydra.swepeer.trials=3",
            "unknown key. Did you mean hydra.sweeper.trials? python run.py --cfg hydra",
        ),
    ],
)
def test_explain_hydra_error_names_override_and_expectation(override: str, words: str) -> None:
    if override == "hydra/sweeper=optuna" and find_spec("hydra_plugins.hydra_optuna_sweeper"):
        pytest.skip("it is installed")
    with pytest.raises(HydraException) as caught:
        composed(override)
    assert explain(caught.value).startswith(f"{override}: {words}")


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ("epoch: 3", "epoch: unknown key. Did you mean epochs? Known keys: data, "),
        ("seeds: {weight: 3}", f"seeds.weight: {NO_SEED} Did you mean seeds.weights? {SEEDS}"),
        ("seeds: {weights: x}", "seeds.weights: expected null or a whole number, at least 0"),
        ("seeds: 3", "Merge error: int is not a subclass of SeedsConfig. value: 3"),
    ],
)
def test_explain_invalid_study_names_study_and_key(study: str, words: str) -> None:
    node = OmegaConf.create(study)
    ConfigStore.instance().store(group=EXPERIMENT, name="wrong", node=node, package="_global_", provider="test")
    with pytest.raises(HydraException) as caught:
        composed("experiment=wrong")
    assert explain(caught.value).startswith(f"experiment=wrong: {words}")
    assert "\n" not in explain(caught.value)


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ({"weight": 3}, f"seeds.weight=3: {NO_SEED} Did you mean seeds.weights? {SEEDS}"),
        ({"batches": -1}, "seeds.batches=-1: expected null or a whole number, at least 0"),
    ],
)
def test_check_invalid_stream_seed_raises(seeds: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(words)}$"):
        check(DEFAULTS | {"seeds": seeds})


def test_cfg_flag_of_a_sweep_is_refused(command: Command) -> None:
    done = command("run.py", "-m", "init=he,lecun", "--cfg", "hydra", status=1)
    assert done.stderr.startswith("error: --cfg, --info: expected a single run, without -m and with one value per key")
    assert done.stderr.count("\n") == 1
