"""Initial weights against theory."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor, nn

from mnist_mlp.base.errors import InvalidArgument
from mnist_mlp.data.splits import Dataset
from mnist_mlp.network.init import fans, initialize, lsuv_, truncated_normal_, variance_scaling_
from mnist_mlp.network.mlp import MLP
from tests.helpers.paths import ROOT

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
def test_variance_scaling_variance_equals_theory(name: str, distribution: str) -> None:
    option = OmegaConf.load(ROOT / "conf" / "init" / f"{name}.yaml")
    weight = torch.empty(FAN_OUT, FAN_IN)
    variance_scaling_(weight, option.scale, option.mode, distribution, generator=generator())
    # 401,408 values: the sample variance has a relative standard error of 0.14% (uniform) and 0.22% (normal).
    assert weight.var().item() == pytest.approx(VARIANCES[name], rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=5 * math.sqrt(VARIANCES[name] / weight.numel()))


def test_initialize_with_default_option_equals_pytorch() -> None:
    torch.manual_seed(7)
    theirs = nn.Linear(FAN_IN, FAN_OUT)
    ours = nn.Linear(FAN_IN, FAN_OUT)
    option = OmegaConf.load(ROOT / "conf" / "init" / "default.yaml")

    def init(weight: Tensor, generator: torch.Generator) -> Tensor:
        return variance_scaling_(weight, option.scale, option.mode, option.distribution, generator=generator)

    initialize(ours, init, "default", generator(7))
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


@given(
    fan_in=st.integers(1, 50),
    fan_out=st.integers(1, 50),
    scale=st.floats(0.01, 10),
    mode=st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_variance_scaling_uniform_is_bounded_and_reproducible(
    fan_in: int, fan_out: int, scale: float, mode: str, seed: int
) -> None:
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    weight, again = torch.empty(fan_out, fan_in), torch.empty(fan_out, fan_in)
    variance_scaling_(weight, scale, mode, generator=generator(seed))
    variance_scaling_(again, scale, mode, generator=generator(seed))
    assert weight.abs().max().item() <= math.sqrt(3 * scale / n) * (1 + 1e-6)
    assert torch.equal(weight, again)


def test_fans_of_convolution_count_kernel_size() -> None:
    assert fans(torch.empty(8, 3, 5, 5)) == (75, 200)


def test_truncated_normal_is_cut_at_two_std() -> None:
    weight = truncated_normal_(torch.empty(500, 500), std=0.05, generator=generator())
    assert weight.abs().max().item() <= 0.1
    assert weight.std().item() == pytest.approx(0.05 * 0.8796, rel=0.02)  # sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"distribution": "gaussian"}, "distribution=gaussian: expected one of uniform, normal"),
        ({"mode": "fan"}, "mode=fan: expected one of fan_in, fan_out, fan_avg"),
        ({"scale": 0.0}, "scale=0.0: expected a number greater than 0"),
    ],
)
def test_variance_scaling_invalid_argument_raises(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        variance_scaling_(torch.empty(2, 2), **kwargs)  # type: ignore[arg-type]


def test_initialize_sets_biases_and_keeps_batch_norm() -> None:
    model = MLP(20, 10, hidden=[30])
    values = dict(model.named_parameters())
    initialize(model, variance_scaling_, "zeros", generator())
    assert not values["linear1.bias"].any()
    assert not values["output.bias"].any()
    initialize(model, variance_scaling_, "default", generator())
    assert 0 < values["linear1.bias"].abs().max().item() <= 1 / math.sqrt(20)
    assert torch.equal(values["norm1.weight"], torch.ones(30))
    assert torch.equal(values["norm1.bias"], torch.zeros(30))


def test_initialize_draws_layers_in_turn_from_one_generator() -> None:
    models = [MLP(20, 10, hidden=[30]), MLP(20, 10, hidden=[30])]
    for model in models:
        initialize(model, variance_scaling_, "default", generator(3))
    ours, again = (dict(model.named_parameters()) for model in models)
    assert all(torch.equal(ours[name], again[name]) for name in ours)
    assert ours["linear1.weight"][0, :10].tolist() != ours["output.weight"][0, :10].tolist()


def test_initialize_function_without_generator_is_called_without_one() -> None:
    model = nn.Linear(4, 4)
    initialize(model, nn.init.eye_, "zeros", generator())
    assert torch.equal(model.weight, torch.eye(4))


def test_initialize_function_that_is_not_in_place_raises() -> None:
    with pytest.raises(InvalidArgument, match="fills the weight in place"):
        initialize(nn.Linear(4, 4), lambda weight: torch.ones_like(weight), "zeros", generator())


@pytest.mark.parametrize("bias", ["zeros", "normal"])
def test_initialize_weights_do_not_depend_on_biases(bias: str) -> None:
    models = {kind: MLP(20, 10, hidden=[30, 7]) for kind in ("default", bias)}
    for kind, model in models.items():
        initialize(model, variance_scaling_, kind, generator(3), bias_std=0.1 if kind == "normal" else None)
    for name, value in models["default"].named_parameters():
        other = models[bias].get_parameter(name)
        assert torch.equal(value, other) != (name.startswith(("linear", "output")) and name.endswith("bias")), name


def test_initialize_normal_biases_have_normal_distribution() -> None:
    layer = nn.Linear(1, 100_000)
    initialize(layer, nn.init.zeros_, "normal", generator(), bias_std=0.2)
    values = layer.bias.detach()
    assert values.mean().item() == pytest.approx(0, abs=5 * 0.2 / math.sqrt(100_000))
    assert values.std().item() == pytest.approx(0.2, rel=0.01)  # a standard error of 0.22%
    for z, beyond in ((1, 0.3173), (2, 0.0455), (3, 0.0027)):  # of the standard normal distribution
        share = (values.abs() > z * 0.2).double().mean().item()
        assert share == pytest.approx(beyond, abs=4 * math.sqrt(beyond / 100_000))


def test_initialize_normal_bias_of_extreme_draw_is_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    def lowest(tensor: Tensor, low: float, high: float, *, generator: object) -> Tensor:
        return tensor.fill_(low)  # PyTorch draws this value once in 2**24 times

    layer = nn.Linear(4, 4)
    monkeypatch.setattr(Tensor, "uniform_", lowest)
    initialize(layer, nn.init.zeros_, "normal", generator(), bias_std=1.0)
    assert layer.bias.tolist() == pytest.approx([-5.4] * 4, abs=0.3)


@pytest.mark.parametrize(
    ("bias", "bias_std", "message"),
    [
        ("uniform", None, "bias=uniform: expected one of default, zeros, normal"),
        ("normal", None, "bias_std=null: expected a finite number greater than 0"),
        ("normal", -1.0, "bias_std=-1.0: expected a finite number greater than 0"),
        ("default", 0.1, "bias_std=0.1: expected null for bias=default, which ignores it"),
        ("zeros", 0.1, "bias_std=0.1: expected null for bias=zeros, which ignores it"),
    ],
)
def test_initialize_invalid_bias_raises(bias: str, bias_std: float | None, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        initialize(nn.Linear(4, 4), variance_scaling_, bias, generator(), bias_std=bias_std)


@pytest.fixture
def images(real_mnist: Dataset) -> Tensor:
    return real_mnist.train.take(slice(1000))[0]


class Convolutions(nn.Module):
    """User-defined network with strides, padding and groups, whose layers are not called in order of definition."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8 * 16, 10)
        self.second = nn.Conv2d(8, 8, kernel_size=3, stride=2, padding=1, groups=2, bias=False)
        self.first = nn.Conv2d(1, 8, kernel_size=4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images.view(-1, 1, 28, 28)).relu()
        logits: Tensor = self.out(self.second(input=features).relu().flatten(1))
        return logits


def variances(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Return the variance of each layer's outputs over images and units, in evaluation mode."""
    found: dict[str, float] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(lambda _, __, out, name=name: found.update({name: out.double().var().item()}))
    with torch.no_grad():
        model.eval()(images)
    return found


NETWORKS = {
    "mlp": lambda: MLP(784, 10, input_dropout=0.2),
    "tanh": lambda: MLP(784, 10, hidden=[100] * 5, activation="tanh", batch_norm=False),
    "convolutions": Convolutions,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_lsuv_outputs_of_every_layer_have_unit_variance(name: str, images: Tensor) -> None:
    """Mishkin and Matas 2016, algorithm 1, on real images and without biases, as in the paper."""
    made, before = NETWORKS[name](), NETWORKS[name]()
    initialize(made, lsuv_, "zeros", generator(), images=images)
    initialize(before, nn.init.orthogonal_, "zeros", generator())
    after = variances(made, images)
    assert list(after.values()) == pytest.approx([1.0] * len(after), rel=2e-3)  # var() divides by n - 1
    assert all(abs(variance - 1) > 0.1 for variance in variances(before, images).values())
    for layer in made.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            rows = layer.weight.detach().flatten(1).double()
            rows = rows if rows.shape[0] <= rows.shape[1] else rows.t()
            products = rows @ rows.t()
            torch.testing.assert_close(products, products[0, 0] * torch.eye(len(rows)).double(), rtol=1e-4, atol=1e-4)


def test_lsuv_with_normal_biases_scales_weights_only(images: Tensor) -> None:
    model = MLP(784, 10, batch_norm=False)
    initialize(model, lsuv_, "normal", generator(), bias_std=0.5, images=images)
    inputs: list[Tensor] = []
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad():
        model.eval()(images)
    for layer, reached in zip(layers, inputs, strict=True):
        assert (reached @ layer.weight.t()).double().var().item() == pytest.approx(1, rel=1e-3)
        assert layer.bias.std().item() > 0.1


def test_initialize_passes_layer_inputs_and_restores_the_model(images: Tensor) -> None:
    """Inputs come from initialized layers, without dropout and with initial BatchNorm statistics."""
    model = MLP(784, 10, hidden=[30, 20], input_dropout=0.5)
    model.get_submodule("norm1").eval()
    before = {name: value.clone() for name, value in model.named_buffers()}
    given: list[Tensor] = []

    def init(weight: Tensor, batch: Tensor, *, generator: torch.Generator) -> Tensor:
        given.append(batch)
        return variance_scaling_(weight, generator=generator)

    initialize(model, init, "default", generator(), images=images)
    modes = {name for name, module in model.named_modules() if not module.training}
    assert modes == {"norm1"}
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert not any(module._forward_pre_hooks for module in model.modules())
    x = images
    expected = []
    with torch.no_grad():
        for module in model.eval():
            if isinstance(module, nn.Linear):
                expected.append(x)
            x = module(x)
    assert len(given) == 3
    assert all(torch.equal(found, wanted) for found, wanted in zip(given, expected, strict=True))

    plain = MLP(784, 10, hidden=[30, 20])  # equal weights with and without a batch
    initialize(plain, variance_scaling_, "default", generator())
    assert all(torch.equal(value, plain.get_parameter(name)) for name, value in model.named_parameters())


def test_lsuv_unusable_batch_raises(images: Tensor) -> None:
    with pytest.raises(InvalidArgument, match=r"outputs of Linear.* vary\. Their standard deviation is 0"):
        initialize(MLP(784, 10), lsuv_, "zeros", generator(), images=torch.zeros(100, 784))
    with pytest.raises(InvalidArgument, match="Their standard deviation is nan"):
        initialize(MLP(784, 10), lsuv_, "zeros", generator(), images=torch.full((100, 784), math.inf))
    with pytest.raises(InvalidArgument, match=r"images=None: expected images .* since lsuv_ needs a batch"):
        initialize(MLP(784, 10), lsuv_, "zeros", generator())
    model = MLP(784, 10)
    model.get_submodule("output").add_module("aside", nn.Linear(3, 3))
    with pytest.raises(InvalidArgument, match=r"lsuv_: expected an initializer that needs no batch, .* output\.aside"):
        initialize(model, lsuv_, "zeros", generator(), images=images)
    assert not any(module._forward_pre_hooks for module in model.modules())
