"""Weight initializers: in-place functions of a weight and a generator, in the manner of `torch.nn.init`.

LeCun, He, Xavier and PyTorch's default differ in one number, the variance they ask for, so all are `variance_scaling_`
with other arguments (see `conf/init/`). `initialize` applies any such function to a whole network.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mnist_mlp.base.errors import InvalidArgument, name_of

BIASES = ("default", "zeros", "normal")
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


def lsuv_(weight: Tensor, batch: Tensor, layer: nn.Module, *, generator: torch.Generator | None = None) -> Tensor:
    """Fill a weight with an orthonormal matrix, scaled so that the layer's outputs have a variance of 1.

    Layer-sequential unit variance: Mishkin and Matas 2016, "All you need is a good init", algorithm 1; the matrix is
    that of Saxe et al. 2014. The variance is that over all images, units and positions. As outputs are linear in the
    weight, one division by their standard deviation does what the algorithm, which allows for any layer, does in
    several rounds. Biases are left out of it: those of several units would add a variance that no weight brings about.

    Args:
        weight: shape (out, in) or (out, in, *kernel), filled in place.
        batch: what reaches the layer, of shape (images, in, ...).
        layer: that the weight belongs to; its stride and padding decide which outputs there are.
        generator: source of randomness.

    Returns:
        The weight.

    Raises:
        InvalidArgument: the outputs have no variance, or an infinite one.
    """
    nn.init.orthogonal_(weight, generator=generator)
    bias = getattr(layer, "bias", None)
    given = {"weight": weight} if bias is None else {"weight": weight, "bias": torch.zeros_like(bias)}
    with torch.no_grad():
        outputs: Tensor = torch.func.functional_call(layer, given, (batch,))
        std = outputs.double().std(correction=0).item()
        if not 0 < std < math.inf:
            allowed = f"images from which the outputs of {layer} vary, which here have a standard deviation of {std:g}"
            raise InvalidArgument("_target_", "lsuv_", allowed)
        return weight.div_(std)


def asks_for_batch(init: Callable[..., object]) -> bool:
    """Whether an initializer is to be called with what reaches the layer."""
    return "batch" in inspect.signature(init).parameters


@torch.no_grad()
def initialize(
    model: nn.Module,
    init: Callable[..., object],
    bias: str,
    generator: torch.Generator,
    *,
    bias_std: float | None = None,
    images: Tensor | None = None,
) -> None:
    """Set the weights and biases of every linear and convolutional layer of a network; leave all else as it is.

    Weights and biases are drawn layer by layer from one generator, in the order in which the network has its layers.
    Biases do not depend on `init`: they are PyTorch's own, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which the tutorial
    keeps; zeros, as most papers have it; or from N(0, bias_std^2). Whichever they are, the weights are the same, unless
    they depend on the images.

    An `init` with a parameter `batch` is called with what reaches the layer from `images`, through the layers before
    it, which have got their weights and biases; so layers come in the order in which the images reach them. The network
    is in evaluation mode for that: nothing is dropped, and BatchNorm has the statistics that it begins with.

    Args:
        model: its layers are changed in place.
        init: fills a weight in place; called as `init(weight)`, with those of these arguments that it has a parameter
            for: `generator`; `batch`, of shape (images, in, ...); `layer`, the module that the weight belongs to. One
            without `generator` draws the same stream from PyTorch's default generator.
        bias: default, zeros or normal.
        generator: source of randomness, on the weights' device; the CPU's where `init` does not take it.
        bias_std: greater than 0, where `bias` is normal; else None.
        images: (n, pixels), on the weights' device, for an `init` that asks for a batch; others do not look at them.

    Raises:
        InvalidArgument: an unknown `bias`, a `bias_std` that is missing or would be ignored, an `init` that does not
            fill its weight, or one that asks for a batch where there are no images or a layer that they do not reach.
    """
    _check_bias(bias, bias_std)
    layers: dict[nn.Module, str] = {layer: name for name, layer in model.named_modules() if isinstance(layer, WEIGHTED)}
    if not asks_for_batch(init):
        for layer in layers:
            _fill(layer, init, {}, generator)
            _fill_bias(layer, bias, bias_std, generator)
        return
    if images is None:
        raise InvalidArgument("images", None, f"images (n, pixels), as {name_of(init)} asks for a batch")

    def reached(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hooks.pop(layer).remove()  # first, as `init` may call the layer; and one that is called twice is filled once
        _fill(layer, init, {"batch": (*args, *kwargs.values())[0]}, generator)
        _fill_bias(layer, bias, bias_std, generator)

    hooks: dict[nn.Module, RemovableHandle] = {
        layer: layer.register_forward_pre_hook(reached, with_kwargs=True) for layer in layers
    }
    try:
        with evaluating(model):
            model(images)
        if hooks:
            allowed = f"one without a batch for this network, which does not call its layer {layers[next(iter(hooks))]}"
            raise InvalidArgument("_target_", name_of(init), allowed)
    finally:
        for hook in hooks.values():
            hook.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have a network in evaluation mode, without gradients; then each of its modules in the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _fill(layer: Any, init: Callable[..., object], inputs: Mapping[str, Any], generator: torch.Generator) -> None:
    """Have an initializer fill a layer's weight, which must then be filled."""
    # A function that returns a new tensor, as in JAX, would leave PyTorch's default behind under its own name.
    layer.weight.fill_(math.nan)
    parameters = inspect.signature(init).parameters
    given = {name: value for name, value in ({"layer": layer} | dict(inputs)).items() if name in parameters}
    if "generator" in parameters:
        init(layer.weight, **given, generator=generator)
    else:
        with _as_default(generator):
            init(layer.weight, **given)
    if layer.weight.isnan().any():
        raise InvalidArgument("_target_", name_of(init), "a function that fills the weight in place, without NaN")


def _check_bias(bias: str, std: float | None) -> None:
    if bias not in BIASES:
        raise InvalidArgument("bias", bias, ", ".join(BIASES))
    if bias != "normal" and std is not None:
        raise InvalidArgument("bias_std", std, f"null where bias={bias}, which has no use for it")
    if bias == "normal" and not (std is not None and 0 < std < math.inf):
        raise InvalidArgument("bias_std", "null" if std is None else std, "a number greater than 0 where bias=normal")


def _fill_bias(layer: Any, kind: str, std: float | None, generator: torch.Generator) -> None:
    """Draw one number for each bias, whatever the kind, so that the weights drawn next are the same for all kinds."""
    bias: Tensor | None = layer.bias
    if bias is None:
        return
    if kind == "normal":
        assert std is not None  # `_check_bias` has seen to it
        # By the inverse of the distribution function; at -1, which is drawn once in 2**24 times, that is infinite.
        bias.uniform_(-1.0, 1.0, generator=generator).clamp_(min=2**-24 - 1).erfinv_().mul_(math.sqrt(2) * std)
        return
    bound = 1 / math.sqrt(fans(layer.weight)[0]) if kind == "default" else 0.0
    bias.uniform_(-bound, bound, generator=generator)


@contextmanager
def _as_default(generator: torch.Generator) -> Iterator[None]:
    """Have PyTorch's default generator draw a generator's stream, and the generator go on from where that ends."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())
