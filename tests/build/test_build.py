"""From configuration to objects: every shipped option and user-defined targets build and work."""

import math
import pydoc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_mlp.base.configuration import plain
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.startup import enter_directory
from mnist_mlp.build.from_config import build, find_device
from mnist_mlp.build.trial import check
from mnist_mlp.data.splits import Dataset, Split
from mnist_mlp.training.optimizers import set_mode
from mnist_mlp.training.step import supports_fused
from tests.helpers.composing import composed
from tests.helpers.options import OPTIONS
from tests.helpers.paths import DATA, ROOT

OPTIMIZERS = [option for group, option in OPTIONS if group == "optim"]
INITS = [option for group, option in OPTIONS if group == "init"]
pytestmark = pytest.mark.usefixtures("real_mnist")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    return lambda *overrides: build(plain(composed("device=cpu", *overrides)))


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_optimizer_of_every_option_lowers_a_quadratic(built: Callable[..., Any], optim: str) -> None:
    kind = type(built(f"optim={optim}").optimizer)
    own = composed(f"optim={optim}").optim.items()
    settings = {k: v for k, v in own if not str(k).startswith("_") and k != "decay_biases"}
    hidden, output = (torch.nn.Parameter(torch.tensor([[1.0, -2.0]])) for _ in range(2))  # Muon needs matrices
    optimizer = kind([hidden, output], **settings)
    set_mode(optimizer, training=True)
    for _ in range(1000):
        optimizer.zero_grad()
        (hidden**2 + output**2).sum().backward()
        optimizer.step()
    set_mode(optimizer, training=False)
    for x in (hidden, output):
        assert (x**2).sum().item() < 0.9 * 5


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_build_decay_biases_false_excludes_biases(built: Callable[..., Any], optim: str) -> None:
    made = built(f"optim={optim}", "optim.weight_decay=0.1", "optim.decay_biases=false")
    decayed = {p: group["weight_decay"] for group in made.optimizer.param_groups for p in group["params"]}
    assert len(decayed) == len(list(made.model.parameters()))
    assert all(value == (0.1 if p.ndim > 1 else 0.0) for p, value in decayed.items())


def test_build_decay_biases_false_without_weight_decay_raises(built: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"optim\.decay_biases=false: expected true, since no weight_decay"):
        built("optim.decay_biases=false", "~optim.weight_decay")


@pytest.mark.parametrize("init", INITS)
def test_build_initial_weights_depend_on_seed_not_optimizer(built: Callable[..., Any], init: str) -> None:
    first = built(f"init={init}", "optim=adam").model.state_dict()
    second = built(f"init={init}", "optim=sgd").model.state_dict()
    other = built(f"init={init}", "optim=sgd", "seed=1").model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["linear1.weight"], other["linear1.weight"])


def reached_(weight: torch.Tensor, batch: torch.Tensor) -> None:
    """A user-defined initializer that takes a batch and no generator."""
    weight.uniform_(-0.1, 0.1).add_(0.001 * len(batch))


def undecided_(weight: torch.Tensor, *, batch: torch.Tensor) -> None:
    weight.copy_((batch.mean() * math.nan).expand_as(weight))


def test_build_init_batch_is_first_1000_training_images_or_all(built: Callable[..., Any]) -> None:
    def first_layer(size: str) -> torch.Tensor:
        weight: torch.Tensor = built(
            "init._target_=tests.build.test_build.reached_",
            "~init.scale",
            "~init.mode",
            "~init.distribution",
            f"data.train_size={size}",
        ).model.linear1.weight.detach()
        return weight

    assert torch.equal(first_layer("null"), first_layer("1000"))
    torch.testing.assert_close(first_layer("null") - first_layer("700"), torch.full((512, 784), 0.3))


def test_lsuv_with_normalized_images_gives_unit_variance(built: Callable[..., Any]) -> None:
    parts = built("init=lsuv", "init.bias=zeros", "data.normalize=true", "model.batch_norm=false")
    images, _ = parts.data.train.take(slice(1000))
    with torch.no_grad():
        for module in parts.model.eval():
            images = module(images)
            if isinstance(module, torch.nn.Linear):
                assert images.double().std(correction=0).item() == pytest.approx(1, rel=1e-5)


def test_build_init_failing_on_its_batch_raises_with_its_name(built: Callable[..., Any]) -> None:
    own = ("~init.scale", "~init.mode", "~init.distribution")
    with pytest.raises(ConfigError, match=r"^init\._target_=undecided_: expected a function that fills .* without NaN"):
        built("init._target_=tests.build.test_build.undecided_", *own)
    with pytest.raises(ConfigError, match=r"^init\._target_=lsuv_: expected images for which the outputs of Linear"):
        built("init=lsuv", "data._target_=tests.build.test_build.blank", "~data.root", "data.val_size=0")


def blank() -> Dataset:
    """A user-defined data set of black images."""
    split = Split(torch.zeros(50, 784), torch.arange(50) % 10)
    return Dataset(split, split, classes=10)


def test_build_network_failing_on_images_raises_with_its_name(built: Callable[..., Any]) -> None:
    config = plain(composed("device=cpu", "init=lsuv"))
    with pytest.raises(
        ConfigError, match=r"^model\._target_=tests\.build\.test_build\.Narrow: failed with RuntimeError"
    ):
        build(config | {"model": {"_target_": "tests.build.test_build.Narrow"}})


class Narrow(torch.nn.Linear):
    """A user-defined network for fewer pixels than the images have."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features - 1, out_features)


@pytest.mark.parametrize("optim", ["adam", "nadam"])
def test_check_input_dropout_passes_fused_and_by_autograd(monkeypatch: pytest.MonkeyPatch, optim: str) -> None:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    config = plain(composed("device=cpu", "model.input_dropout=0.2"))
    if optim == "nadam":
        config["optim"] = {"_target_": "tests.build.test_build.UserDefined", "lr": 0.01}
    parts = check(config)
    assert supports_fused(parts.model, parts.optimizer) == (optim == "adam")
    assert parts.model[0].p == 0.2  # type: ignore[index]


class UserDefined(torch.optim.NAdam):
    """A user-defined optimizer."""


def test_build_passes_settings_to_the_optimizer(built: Callable[..., Any]) -> None:
    group = built("optim.betas=[0.9,0.98]", "optim.weight_decay=1e-4", "+optim.maximize=true").optimizer.param_groups[0]
    assert (list(group["betas"]), group["weight_decay"], group["maximize"]) == ([0.9, 0.98], 1e-4, True)


def test_build_constructor_argument_without_plus_is_set(built: Callable[..., Any]) -> None:
    assert built("optim.foreach=true").optimizer.param_groups[0]["foreach"] is True


def test_build_model_sizes_come_from_the_data(built: Callable[..., Any]) -> None:
    parts = built("data=digits", "model.hidden=[7]")
    assert [tuple(p.shape) for p in parts.model.parameters()] == [(7, 64), (7,), (7,), (7,), (10, 7), (10,)]


def test_facts_record_data_sizes(built: Callable[..., Any]) -> None:
    data = built("data=digits").facts()["data"]
    assert (data["train"], data["inputs"], data["classes"]) == (1248, 64, 10)


def test_facts_record_commonest_class_share_of_test_images(built: Callable[..., Any]) -> None:
    parts = built("data=mnist")
    assert parts.facts()["data"]["commonest_test_share"] == 0.1135  # there are 1,135 ones
    labels, rows = torch.tensor([0, 1, 1, 2, 2, 2]), torch.tensor([1, 2, 3])
    part = Split(torch.zeros(6, 4), labels, rows=rows)
    assert replace(parts, data=replace(parts.data, test=part)).facts()["data"]["commonest_test_share"] == 2 / 3


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "", "cpu:7"])
def test_find_device_absent_raises_with_its_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device={name}: expected one of auto, "):
        find_device(name)


@pytest.mark.filterwarnings("ignore::UserWarning")  # ignored by the program, see mnist_mlp/app/register.py
def test_ray_init_with_address_joins_and_else_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*overrides: str) -> dict[str, Any]:
        config = composed("hydra/launcher=ray", *overrides)
        config.hydra.runtime.cwd = "here"
        return dict(config.hydra.launcher.ray.init)

    monkeypatch.setenv("MNIST_MLP_DATA", "there")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    alone, joined = init(), init("hydra.launcher.ray.init.address=auto")
    assert alone["address"] is None
    assert alone["num_cpus"] >= 1
    assert alone["object_store_memory"] > 0
    assert joined["address"] == "auto"
    assert joined["num_cpus"] is joined["object_store_memory"] is None  # Ray refuses these for an existing cluster
    monkeypatch.setenv("RAY_ADDRESS", "host:6379")
    by_environment = init()
    assert by_environment["address"] == "host:6379"
    assert by_environment["num_cpus"] is None
    for found in (alone, joined):  # workers of an existing cluster have directory and environment of its starter
        assert found["runtime_env"]["env_vars"] == {"MNIST_MLP_DIRECTORY": "here", "MNIST_MLP_DATA": "there"}
        assert pydoc.locate(found["runtime_env"]["worker_process_setup_hook"]) is enter_directory


def test_enter_directory_changes_to_directory_of_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MNIST_MLP_DIRECTORY", str(tmp_path))
    enter_directory()
    assert Path.cwd() == tmp_path
