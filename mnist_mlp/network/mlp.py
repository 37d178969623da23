"""Multi-layer perceptron."""

import pydoc
from collections.abc import Callable, Sequence

from torch import nn

from mnist_mlp.base.errors import InvalidArgument
from mnist_mlp.network.matmul import Linear

# All are elementwise and have no parameters; `mnist_mlp.training.fused.backprop` relies on this.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
}
_ALLOWED = f"one of {', '.join(ACTIVATIONS)}, or the dotted path of a class or function that returns a torch.nn.Module"


def find_activation(name: str) -> Callable[[], nn.Module]:
    """Return the function that makes an activation.

    Args:
        name: Key of `ACTIVATIONS`, or dotted path.

    Raises:
        InvalidArgument: The name is unknown, or the path does not lead to a class or function that returns a module.
    """
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    try:
        found = pydoc.locate(name) if "." in name else None
        is_module = callable(found) and isinstance(found(), nn.Module)
    except Exception as error:  # from user-defined code
        raise InvalidArgument("activation", name, f"{_ALLOWED}. Error: {error}") from error
    if not is_module:
        raise InvalidArgument("activation", name, _ALLOWED)
    make: Callable[[], nn.Module] = found  # type: ignore[assignment]
    return make


class MLP(nn.Sequential):
    """Fully connected network. A hidden layer has a linear map, BatchNorm, an activation and dropout, in this order.

    Maps (batch, in_features) to logits (batch, out_features).

    Args:
        in_features: Number of inputs, at least 1.
        out_features: Number of classes, at least 1.
        hidden: Widths of the hidden layers; empty for a linear classifier.
        activation: Key of `ACTIVATIONS`, or dotted path of a class or function that returns an elementwise module, such
            as `torch.nn.Hardswish`. These are trained by autograd.
        batch_norm: Normalize over the batch before each activation (Ioffe and Szegedy 2015, section 3.2).
        dropout: Probability of zeroing a hidden unit, 0 <= dropout < 1.
        input_dropout: Probability of zeroing an input, 0 <= input_dropout < 1 (Srivastava et al. 2014, appendix A.4).

    Raises:
        InvalidArgument: The activation is unknown, or a width or dropout probability is out of range.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (512, 256),
        activation: str = "relu",
        batch_norm: bool = True,
        dropout: float = 0.5,
        input_dropout: float = 0.0,
    ) -> None:
        make_activation = find_activation(activation)
        if not all(width >= 1 for width in hidden):
            raise InvalidArgument("hidden", list(hidden), "whole numbers, each at least 1")
        for name, p in (("dropout", dropout), ("input_dropout", input_dropout)):
            if not 0 <= p < 1:
                raise InvalidArgument(name, p, "a number in [0, 1)")
        super().__init__()
        if input_dropout:
            self.add_module("input_dropout", nn.Dropout(input_dropout))
        width_before = in_features
        for number, width in enumerate(hidden, start=1):
            self.add_module(f"linear{number}", Linear(width_before, width))
            if batch_norm:
                self.add_module(f"norm{number}", nn.BatchNorm1d(width))
            self.add_module(f"activation{number}", make_activation())
            if dropout:
                self.add_module(f"dropout{number}", nn.Dropout(dropout))
            width_before = width
        self.add_module("output", Linear(width_before, out_features))
