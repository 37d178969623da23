"""Layers of the network and its arguments."""

import pytest
import torch
from torch import nn

from mnist_mlp.base.errors import InvalidArgument
from mnist_mlp.network.matmul import Linear
from mnist_mlp.network.mlp import ACTIVATIONS, MLP


def test_mlp_by_default_equals_tutorial_network() -> None:
    model = MLP(784, 10)
    kinds = [type(layer) for layer in model]
    hidden = [Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert kinds == [*hidden, *hidden, Linear]
    assert sum(p.numel() for p in model.parameters()) == 784 * 512 + 512 * 3 + 512 * 256 + 256 * 3 + 256 * 10 + 10


def test_mlp_without_hidden_layer_is_linear_classifier() -> None:
    model = MLP(64, 10, hidden=[])
    assert [type(layer) for layer in model] == [Linear]
    assert model(torch.zeros(3, 64)).shape == (3, 10)


def test_mlp_input_dropout_is_first_layer() -> None:
    model = MLP(784, 10, hidden=[8], dropout=0.0, input_dropout=0.2)
    assert [name for name, _ in model.named_children()] == [
        *("input_dropout", "linear1", "norm1", "activation1", "output")
    ]
    torch.manual_seed(0)
    dropped = model[0](torch.ones(1000, 784))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.003)  # a standard error of 0.0005
    assert torch.equal(model.eval()[0](torch.ones(3, 784)), torch.ones(3, 784))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_with_every_activation_gives_finite_logits(activation: str) -> None:
    model = MLP(64, 10, hidden=[8], activation=activation, batch_norm=False, dropout=0.0)
    assert [type(layer) for layer in model] == [Linear, ACTIVATIONS[activation], Linear]
    assert model(torch.randn(3, 64)).isfinite().all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"activation": "reluu"}, "activation=reluu: expected one of elu, "),
        ({"hidden": [10, 0]}, r"hidden=\[10, 0\]: expected"),
        ({"dropout": 1.0}, "^dropout=1.0: expected"),
        ({"input_dropout": 1.0}, "^input_dropout=1.0: expected"),
        ({"input_dropout": -0.1}, "^input_dropout=-0.1: expected"),
    ],
)
def test_mlp_invalid_argument_raises(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        MLP(64, 10, **kwargs)  # type: ignore[arg-type]
