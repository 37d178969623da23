"""Training step against PyTorch: the same batches and masks with autograd and `torch.optim`."""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from mnist_mlp.base.numba_jit import jit
from mnist_mlp.data.batches import batches
from mnist_mlp.data.splits import Dataset, make_splits
from mnist_mlp.network import matmul
from mnist_mlp.network.init import initialize, variance_scaling_
from mnist_mlp.network.mlp import ACTIVATIONS, MLP
from mnist_mlp.training.fused import backprop
from mnist_mlp.training.fused.backprop import Backprop, DropoutLayer
from mnist_mlp.training.seeds import derive_seeds
from mnist_mlp.training.step import make_step, supports_fused
from mnist_mlp.training.updates import fused
from mnist_mlp.training.updates.fused import FusedUpdate
from tests.helpers.optimizers import HYPERPARAMETERS, OPTIMIZERS, TOLERANCE, optimizer

Make = Callable[[Iterable[nn.Parameter]], Optimizer]

STEPS = 50


class GivenMask(nn.Module):
    """Dropout with the last mask of another network's dropout layer."""

    def __init__(self, layer: DropoutLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.from_numpy(self.layer.factor).t()


def plain_copy(model: nn.Sequential, backprop: Backprop) -> nn.Sequential:
    """Return a copy of the network for autograd, with the masks that `backprop` draws."""
    pairs = zip(copy.deepcopy(model), backprop.layers, strict=True)
    return nn.Sequential(*(GivenMask(layer) if isinstance(layer, DropoutLayer) else module for module, layer in pairs))


def network(dtype: torch.dtype = torch.float32, **settings: Any) -> MLP:
    model = MLP(784, 10, **{"hidden": [64, 32], **settings}).to(dtype)
    initialize(model, variance_scaling_, "default", torch.Generator().manual_seed(0))
    return model


def batches_of(data: Dataset, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    train = make_splits(data, train_size=500, val_size=0, split_seed=0, normalize=False).train
    order = [index for _ in range(4) for index in batches(len(train), 32, torch.Generator().manual_seed(1))]
    return [(images.to(dtype), labels) for images, labels in map(train.take, order[:STEPS])]


def train_both(model: nn.Sequential, make: Make, data: Dataset) -> tuple[nn.Sequential, nn.Sequential]:
    """Train a network and its copy with equal steps, compare every loss, and return both networks."""
    dtype = next(model.parameters()).dtype
    assert backprop.supports(model)
    gradients, update = Backprop(model, seed=3), FusedUpdate(make(model.parameters()))
    plain = plain_copy(model, gradients)
    optimizer = make(plain.parameters())
    for images, labels in batches_of(data, dtype):
        loss, correct = gradients(images, labels)
        update()

        logits = plain(images)
        expected = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        exact = 1e-7 if isinstance(optimizer, torch.optim.NAdam) else 1e-10
        assert loss == pytest.approx(expected.item(), rel=exact if dtype == torch.float64 else 0.02)
        if dtype == torch.float64:
            assert correct == (logits.argmax(dim=1) == labels).sum().item()
    return model, plain


def compare(
    ours: nn.Module, plain: nn.Module, skip: Callable[[str], bool] = lambda name: False, **tolerance: Any
) -> None:
    """Assert that all parameters, running statistics and counts are close."""
    pairs = zip(ours.state_dict().items(), plain.state_dict().values(), strict=True)
    for (name, value), expected in pairs:
        if not skip(name):
            torch.testing.assert_close(value, expected, msg=name, **tolerance)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_step_in_double_precision_equals_pytorch(name: str, real_mnist: Dataset) -> None:
    ours, plain = train_both(network(torch.float64), lambda p: optimizer(name, p), real_mnist)
    compare(ours, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_step_in_single_precision_equals_pytorch(name: str, real_mnist: Dataset) -> None:
    ours, plain = train_both(network(), lambda p: optimizer(name, p), real_mnist)

    # The gradient of a bias before BatchNorm is zero up to rounding. Optimizers that divide by the gradient's size turn
    # rounding into steps, which change running means only, since BatchNorm subtracts the mean of its input.
    def is_rounding(name: str) -> bool:
        return name in ("linear1.bias", "linear2.bias", "norm1.running_mean", "norm2.running_mean")

    compare(ours, plain, skip=is_rounding, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("batch_norm", [True, False])
def test_fused_step_with_every_activation_equals_pytorch(
    activation: str, batch_norm: bool, real_mnist: Dataset
) -> None:
    model = network(torch.float64, activation=activation, batch_norm=batch_norm, dropout=0.3)
    ours, plain = train_both(model, lambda p: optimizer("momentum", p), real_mnist)
    compare(ours, plain, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("settings", [{}, {"hidden": []}, {"dropout": 0.0, "batch_norm": False}])
def test_fused_step_with_input_dropout_equals_pytorch(settings: dict[str, Any], real_mnist: Dataset) -> None:
    model = network(torch.float64, input_dropout=0.2, **settings)
    ours, plain = train_both(model, lambda p: optimizer("momentum", p), real_mnist)
    compare(ours, plain, rtol=1e-6, atol=1e-8)


def test_backprop_with_input_dropout_skips_gradient_of_images(real_mnist: Dataset) -> None:
    def refused(weight: Tensor, gradient: Tensor) -> Tensor:
        raise AssertionError("the gradient with respect to the images is not needed")

    gradients = Backprop(network(input_dropout=0.2), seed=0)
    first = gradients.layers[1]
    assert isinstance(first, backprop.LinearLayer)
    first.products = first.products._replace(grad_input=refused)
    gradients(*batches_of(real_mnist, torch.float32)[0])


def test_fused_step_of_other_sequential_networks_equals_pytorch(real_mnist: Dataset) -> None:
    for modules in (
        [nn.Linear(784, 10)],
        [nn.Dropout(0.2), nn.Linear(784, 20, bias=False), nn.Tanh(), nn.ReLU(), nn.Linear(20, 10)],
        [
            nn.BatchNorm1d(784),
            nn.ReLU(inplace=True),
            nn.Linear(784, 20),
            nn.ReLU(),
            nn.BatchNorm1d(20),
            nn.Linear(20, 10),
        ],
    ):
        torch.manual_seed(0)
        model = nn.Sequential(*modules).double()
        ours, plain = train_both(model, lambda p: optimizer("adam", p), real_mnist)
        compare(ours, plain, rtol=1e-6, atol=1e-6)


@given(data=st.data(), name=st.sampled_from(sorted(HYPERPARAMETERS)), lr=st.floats(1e-4, 1), eps=st.floats(1e-8, 1e-2))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_fused_update_with_any_hyperparameters_equals_pytorch(
    data: st.DataObject, name: str, lr: float, eps: float
) -> None:
    chosen = {key: data.draw(values, key) for key, values in HYPERPARAMETERS[name].items()}
    if name not in ("sgd", "momentum", "nag"):
        chosen["eps"] = eps
    random = torch.Generator().manual_seed(0)
    ours, theirs = (
        [
            nn.Parameter(torch.randn(shape, generator=random.manual_seed(1), dtype=torch.float64))
            for shape in ((5, 3), (7,))
        ]
        for _ in range(2)
    )
    update = FusedUpdate(optimizer(name, ours, lr=lr, **chosen))
    reference = optimizer(name, theirs, lr=lr, **chosen)
    for _ in range(12):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=random, dtype=torch.float64)
            b.grad = a.grad.clone()
        update()
        reference.step()
        for a, b in zip(ours, theirs, strict=True):
            rtol, atol = TOLERANCE.get(name, (1e-9, 1e-11))
            torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def test_fused_update_after_change_of_rate_uses_new_rate() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    sgd = optimizer("sgd", [parameter], lr=0.1)
    update = FusedUpdate(sgd)
    parameter.grad = torch.ones(3)
    update()
    sgd.param_groups[0]["lr"] = 1.0
    update()
    torch.testing.assert_close(parameter.detach(), torch.full((3,), -1.1))


class UserDefined(torch.optim.SGD):
    """User-defined optimizer whose base class has a fused kernel."""


def test_fused_update_unknown_or_modified_optimizer_is_not_supported() -> None:
    parameters = list(network().parameters())
    for made in (
        optimizer("sgd", parameters, maximize=True),
        torch.optim.Rprop(parameters),
        UserDefined(parameters),
    ):
        assert not fused.supports(made), made
        with pytest.raises(ValueError, match="no update function"):
            FusedUpdate(made)
    hooked = optimizer("sgd", parameters)
    hooked.register_step_pre_hook(lambda *_: None)
    assert not fused.supports(hooked)


def test_fused_update_optimizer_that_has_taken_steps_is_not_supported() -> None:
    parameters = list(network().parameters())
    used = optimizer("adam", parameters)
    parameters[0].grad = torch.zeros_like(parameters[0])
    used.step()
    assert not fused.supports(used)


class Residual(nn.Sequential):
    """User-defined network that adds its input to the output of its first layer."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self[0](x)
        return out


class Frozen(nn.Sequential):
    """User-defined network that is never in training mode."""

    def train(self, mode: bool = True) -> "Frozen":
        return super().train(False)


def test_backprop_unknown_network_is_not_supported() -> None:
    for model in (
        Residual(nn.Linear(8, 8)),
        Frozen(nn.Linear(8, 8)),
        nn.Sequential(),
        nn.Sequential(nn.Linear(8, 8), nn.Softmax(dim=1)),
        nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8, affine=False)),
        nn.Sequential(nn.Linear(8, 8), nn.ELU(inplace=True)),
        nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8, dtype=torch.float64)),
        nn.Sequential(nn.Linear(8, 8, dtype=torch.bfloat16)),
    ):
        assert not backprop.supports(model), model


def test_backprop_modified_network_is_not_supported() -> None:
    shared = nn.Linear(8, 8)
    tied = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    tied[0].weight = tied[1].weight
    watched, frozen = nn.Sequential(nn.Linear(8, 8)), nn.Sequential(nn.Linear(8, 8))
    watched[0].register_forward_hook(lambda *_: None)
    frozen[0].weight.requires_grad_(False)
    patched, clipped = nn.Sequential(nn.Linear(8, 8)), nn.Sequential(nn.Linear(8, 8))
    patched[0].forward = lambda x: x
    next(clipped.parameters()).register_hook(lambda gradient: gradient.clamp(-1, 1))
    for model in (nn.Sequential(shared, shared), tied, watched, frozen, patched, clipped):
        assert not backprop.supports(model), model


class Rebinding(torch.optim.SGD):
    """User-defined optimizer that rebinds parameters to new tensors, and counts calls of `zero_grad`."""

    zeroed = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.zeroed += 1
        super().zero_grad(set_to_none)

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            p.data = p.data - 0.1 * p.grad


class MaxNorm(nn.Linear):
    """User-defined layer that rebinds its weight to a new tensor."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data = torch.renorm(self.weight.data, 2, 0, 1.0)
        return super().forward(x)


def test_step_of_user_defined_model_or_optimizer_equals_plain_loop(real_mnist: Dataset) -> None:
    def normed() -> nn.Module:
        return nn.Sequential(nn.Linear(784, 20), nn.LayerNorm(20), nn.ReLU(), MaxNorm(20, 10))

    makers: list[tuple[Callable[[], nn.Module], Make]] = [
        (normed, lambda p: optimizer("adam", p)),
        (normed, torch.optim.NAdam),
        (lambda: nn.Sequential(nn.Linear(784, 10)), lambda p: Rebinding(p, lr=0.1)),
    ]
    for make_model, make_optimizer in makers:
        torch.manual_seed(0)
        model, plain = make_model(), make_model()
        plain.load_state_dict(model.state_dict())
        made, reference = make_optimizer(model.parameters()), make_optimizer(plain.parameters())
        assert not supports_fused(model, made)
        step = make_step(model, made, derive_seeds(0))
        for images, labels in batches_of(real_mnist, torch.float32):
            loss, correct = step(images, labels)
            logits = plain(images)
            expected = F.cross_entropy(logits, labels)
            reference.zero_grad()
            expected.backward()
            reference.step()
            assert loss == expected
            assert correct == (logits.argmax(dim=1) == labels).sum()
        compare(model, plain, rtol=0, atol=0)
        assert not isinstance(made, Rebinding) or made.zeroed == STEPS


def test_matmul_libraries_give_equal_results(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, x, gradient = torch.randn(64, 48), torch.rand(48, 32), torch.randn(64, 32)
    layer = matmul.Linear(48, 64)
    with torch.no_grad():
        expected = layer(x.t())
        for chosen in ("oneDNN", "PyTorch"):
            monkeypatch.setattr(matmul, "library", lambda chosen=chosen: chosen)
            found = matmul.matmuls_for(weight)
            assert found is (matmul.ONEDNN if chosen == "oneDNN" else matmul.PYTORCH)
            torch.testing.assert_close(found.forward(weight, x), weight @ x)
            torch.testing.assert_close(found.grad_weight(gradient, x), gradient @ x.t())
            torch.testing.assert_close(found.grad_input(weight, gradient), weight.t() @ gradient)
            torch.testing.assert_close(layer(x.t()), expected)
            assert matmul.matmuls_for(weight[:10]) is matmul.PYTORCH  # too small
            assert matmul.matmuls_for(weight.double()) is matmul.PYTORCH


def test_backprop_batch_norm_of_wrong_batch_raises() -> None:
    for model, images in (
        (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), torch.zeros(1, 4)),
        (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(2)), torch.zeros(5, 4)),
    ):
        with pytest.raises(ValueError, match=r"BatchNorm of \d features: got"):
            Backprop(model, seed=0)(images, torch.zeros(len(images)).long())


def test_backprop_of_nan_weights_gives_nan_loss() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Linear(3, 2))
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    loss, _ = Backprop(model, seed=0)(torch.zeros(2, 4), torch.tensor([0, 1]))
    assert math.isnan(loss)


def test_compiled_function_without_file_works() -> None:
    space: dict[str, Callable[[int], int]] = {}
    exec("def double(x):\n    return 2 * x", space)  # a function without a file, so that no cache can be written
    assert jit(space["double"])(21) == 42


@pytest.mark.parametrize("p", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_dropout_layer_drops_given_share_and_keeps_mean(p: float) -> None:
    layer = Backprop(nn.Sequential(nn.Dropout(p)), seed=0).layers[0]
    x = torch.ones(1000, 1000).numpy()
    out = layer.forward(x).copy()
    assert (out == 0).mean() == pytest.approx(p, abs=0.003)
    assert out.mean() == pytest.approx(1, abs=0.01)
    assert len(set(out.ravel().tolist())) <= 2
    assert (layer.forward(x) != out).any() or p == 0


def test_backprop_label_without_logit_raises() -> None:
    step = Backprop(nn.Sequential(nn.Linear(4, 3)), seed=0)
    with pytest.raises(IndexError, match="a label is not in"):
        step(torch.zeros(2, 4), torch.tensor([0, 3]))
