"""Initial weights against theory."""

import math

import pytest
import torch
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor, nn

from mnist_mlp.network.init import fans, initialise, truncated_normal_, variance_scaling_
from mnist_mlp.network.model import MLP
from mnist_mlp.run.schema import InvalidArgument

FAN_IN, FAN_OUT = 784, 512
VARIANCES = {
    "lecun": 1 / FAN_IN,
    "he": 2 / FAN_IN,
    "default": 1 / (3 * FAN_IN),
    "xavier": 2 / (FAN_IN + FAN_OUT),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
@pytest.mark.parametrize("name", VARIANCES)
def test_variance_agrees_with_theory(name: str, distribution: str) -> None:
    option = OmegaConf.load(ROOT / "conf" / "init" / f"{name}.yaml")
    weight = torch.empty(FAN_OUT, FAN_IN)
    variance_scaling_(weight, option.scale, option.mode, distribution, generator=generator())
    # 401,408 values: the sample variance has a relative standard error of 0.14 % (uniform) and 0.22 % (normal).
    assert weight.var().item() == pytest.approx(VARIANCES[name], rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=5 * math.sqrt(VARIANCES[name] / weight.numel()))


def test_default_is_what_pytorch_does() -> None:
    torch.manual_seed(7)
    theirs = nn.Linear(FAN_IN, FAN_OUT)
    ours = nn.Linear(FAN_IN, FAN_OUT)
    option = OmegaConf.load(ROOT / "conf" / "init" / "default.yaml")

    def init(weight: Tensor, generator: torch.Generator) -> Tensor:
        return variance_scaling_(weight, option.scale, option.mode, option.distribution, generator=generator)

    initialise(ours, init, "default", generator(7))
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


@given(
    fan_in=st.integers(1, 50),
    fan_out=st.integers(1, 50),
    scale=st.floats(0.01, 10),
    mode=st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_uniform_stays_within_its_bound_and_depends_on_the_generator_alone(
    fan_in: int, fan_out: int, scale: float, mode: str, seed: int
) -> None:
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    weight, again = torch.empty(fan_out, fan_in), torch.empty(fan_out, fan_in)
    variance_scaling_(weight, scale, mode, generator=generator(seed))
    variance_scaling_(again, scale, mode, generator=generator(seed))
    assert weight.abs().max().item() <= math.sqrt(3 * scale / n) * (1 + 1e-6)
    assert torch.equal(weight, again)


def test_fans_of_a_convolution_count_its_kernel() -> None:
    assert fans(torch.empty(8, 3, 5, 5)) == (75, 200)


def test_truncated_normal_is_cut_at_two_std() -> None:
    weight = truncated_normal_(torch.empty(500, 500), std=0.05, generator=generator())
    assert weight.abs().max().item() <= 0.1
    assert weight.std().item() == pytest.approx(0.05 * 0.8796, rel=0.02)  # sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"distribution": "gaussian"}, "distribution=gaussian: allowed is uniform, normal"),
        ({"mode": "fan"}, "mode=fan: allowed is fan_in, fan_out, fan_avg"),
        ({"scale": 0.0}, "scale=0.0: allowed is a number greater than 0"),
    ],
)
def test_wrong_arguments_are_named(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        variance_scaling_(torch.empty(2, 2), **kwargs)  # type: ignore[arg-type]


def test_biases_and_batch_norm() -> None:
    model = MLP(20, 10, hidden=[30])
    values = dict(model.named_parameters())
    initialise(model, variance_scaling_, "zeros", generator())
    assert not values["linear1.bias"].any()
    assert not values["output.bias"].any()
    initialise(model, variance_scaling_, "default", generator())
    assert 0 < values["linear1.bias"].abs().max().item() <= 1 / math.sqrt(20)
    assert torch.equal(values["norm1.weight"], torch.ones(30))
    assert torch.equal(values["norm1.bias"], torch.zeros(30))


def test_layers_are_drawn_in_turn_from_one_generator() -> None:
    models = [MLP(20, 10, hidden=[30]), MLP(20, 10, hidden=[30])]
    for model in models:
        initialise(model, variance_scaling_, "default", generator(3))
    ours, again = (dict(model.named_parameters()) for model in models)
    assert all(torch.equal(ours[name], again[name]) for name in ours)
    assert ours["linear1.weight"][0, :10].tolist() != ours["output.weight"][0, :10].tolist()


def test_an_initialiser_without_a_generator_is_called_without_one() -> None:
    model = nn.Linear(4, 4)
    initialise(model, nn.init.eye_, "zeros", generator())
    assert torch.equal(model.weight, torch.eye(4))


def test_a_function_that_does_not_fill_in_place_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="fills the weight in place"):
        initialise(nn.Linear(4, 4), lambda weight: torch.ones_like(weight), "zeros", generator())
