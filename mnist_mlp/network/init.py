"""Weight initialisers: in-place functions of a weight and a generator, in the manner of `torch.nn.init`.

LeCun, He, Xavier and PyTorch's default differ in one number, the variance they ask for, so all are `variance_scaling_`
with other arguments (see `conf/init/`). `initialise` applies any such function to a whole network.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mnist_mlp.run.schema import InvalidArgument

BIASES = ("default", "zeros")
# Layers that compute weight @ x + bias. BatchNorm's scale and shift are not among them: they keep their ones and zeros.
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def fans(weight: Tensor) -> tuple[int, int]:
    """Number of inputs and of outputs of one unit of a weight of shape (out, in, *kernel)."""
    kernel = weight[0, 0].numel()
    return weight.shape[1] * kernel, weight.shape[0] * kernel


def variance_scaling_(
    weight: Tensor,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "uniform",
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill a weight with zero-mean values of variance scale / n.

    n is the number of inputs (`fan_in`), of outputs (`fan_out`) or their mean (`fan_avg`). The well-known schemes:

    - LeCun, scale 1, fan_in: LeCun et al. 1998, "Efficient BackProp", eq. 16;
    - He, scale 2, fan_in: He et al. 2015, "Delving Deep into Rectifiers", eq. 10;
    - Xavier, scale 1, fan_avg: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward
      neural networks", eq. 12 (uniform; its eq. 16 is this variance);
    - PyTorch's default, scale 1/3, fan_in: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    Args:
        weight: shape (out, in) or (out, in, *kernel), filled in place.
        scale: greater than 0.
        mode: fan_in, fan_out or fan_avg.
        distribution: normal, or uniform on (-a, a) with a = sqrt(3 scale / n), which has the same variance.
        generator: source of randomness; the same state gives the same weights.

    Returns:
        The weight.

    Raises:
        InvalidArgument: scale not positive, or an unknown mode or distribution.
    """
    fan_in, fan_out = fans(weight)
    counts = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    if mode not in counts:
        raise InvalidArgument("mode", mode, ", ".join(counts))
    if not 0 < scale < math.inf:
        raise InvalidArgument("scale", scale, "a number greater than 0")
    std = math.sqrt(scale / counts[mode])
    with torch.no_grad():
        if distribution == "uniform":
            bound = math.sqrt(3) * std
            return weight.uniform_(-bound, bound, generator=generator)
        if distribution == "normal":
            return weight.normal_(0.0, std, generator=generator)
    raise InvalidArgument("distribution", distribution, "uniform, normal")


def truncated_normal_(weight: Tensor, std: float = 0.05, *, generator: torch.Generator | None = None) -> Tensor:
    """Fill a weight from N(0, std^2), drawn again wherever a value lies more than two `std` from zero.

    As in Keras' `TruncatedNormal`, `std` belongs to the normal before the cut; what remains has 0.880 of it.
    (`torch.nn.init.trunc_normal_` cuts at -2 and 2 whatever `std` is, which for the usual `std` never cuts.)

    Args:
        weight: filled in place, of any shape.
        std: greater than 0.
        generator: source of randomness.

    Raises:
        InvalidArgument: std not positive.
    """
    if not 0 < std < math.inf:
        raise InvalidArgument("std", std, "a number greater than 0")
    return nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)


@torch.no_grad()
def initialise(model: nn.Module, init: Callable[..., object], bias: str, generator: torch.Generator) -> None:
    """Set the weights and biases of every linear and convolutional layer of a network; leave all else as it is.

    Weights and biases are drawn layer by layer from one generator. Biases do not depend on `init`: either PyTorch's
    own, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which the tutorial keeps, or zeros, as most papers have it.

    Args:
        model: its layers are changed in place.
        init: fills a weight in place; called as `init(weight, generator=generator)`, or as `init(weight)` where it has
            no such parameter. PyTorch's default generator, from which it then draws, gives it the same stream.
        bias: default or zeros.
        generator: source of randomness, on the weights' device; the CPU's where `init` does not take it.

    Raises:
        InvalidArgument: an unknown `bias`, or an `init` that does not fill its weight.
    """
    if bias not in BIASES:
        raise InvalidArgument("bias", bias, ", ".join(BIASES))
    takes_generator = "generator" in inspect.signature(init).parameters
    for layer in model.modules():
        if not isinstance(layer, WEIGHTED):
            continue
        # A function that returns a new tensor, as in JAX, would leave PyTorch's default behind under its own name.
        layer.weight.fill_(math.nan)
        if takes_generator:
            init(layer.weight, generator=generator)
        else:
            with _as_default(generator):
                init(layer.weight)
        if layer.weight.isnan().any():
            name = getattr(getattr(init, "func", init), "__name__", str(init))
            raise InvalidArgument("_target_", name, "a function that fills the weight in place, without NaN")
        if layer.bias is not None:
            bound = 1 / math.sqrt(fans(layer.weight)[0]) if bias == "default" else 0.0
            layer.bias.uniform_(-bound, bound, generator=generator)


@contextmanager
def _as_default(generator: torch.Generator) -> Iterator[None]:
    """Have PyTorch's default generator draw a generator's stream, and the generator go on from where that ends."""
    default = torch.default_generator
    before = default.get_state()
    default.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(default.get_state())
        default.set_state(before)
