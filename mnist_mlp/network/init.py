"""Weight initializers: in-place functions of a weight and a generator, in the style of `torch.nn.init`.

LeCun, He, Xavier and PyTorch's default differ only in the variance of the weights, so all of them are
`variance_scaling_` with other arguments (see `conf/init/`). `initialize` applies an initializer to a whole model.
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
# Layers that compute weight @ x + bias. BatchNorm is not among them: its scale and shift stay 1 and 0.
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def fans(weight: Tensor) -> tuple[int, int]:
    """Return fan-in and fan-out of a weight of shape (out, in, ...)."""
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

    n is the number of inputs (`fan_in`), of outputs (`fan_out`) or their mean (`fan_avg`). Well-known schemes:

    - LeCun, scale 1, fan_in: LeCun et al. 1998, "Efficient BackProp", eq. 16;
    - He, scale 2, fan_in: He et al. 2015, "Delving Deep into Rectifiers", eq. 10;
    - Xavier, scale 1, fan_avg: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward
      neural networks", eq. 12 (uniform; its eq. 16 is this variance);
    - PyTorch's default, scale 1/3, fan_in: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    Args:
        weight: Weight of shape (out, in) or (out, in, ...), filled in place.
        scale: Numerator of the variance, greater than 0.
        mode: Denominator of the variance: fan_in, fan_out or fan_avg.
        distribution: Distribution: normal, or uniform on (-a, a) with a = sqrt(3 scale / n), of the same variance.
        generator: Random number generator.

    Returns:
        The weight.

    Raises:
        InvalidArgument: The scale is not positive, or the mode or distribution is unknown.
    """
    fan_in, fan_out = fans(weight)
    counts = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    if mode not in counts:
        raise InvalidArgument("mode", mode, f"one of {', '.join(counts)}")
    if not 0 < scale < math.inf:
        raise InvalidArgument("scale", scale, "a number greater than 0")
    std = math.sqrt(scale / counts[mode])
    with torch.no_grad():
        if distribution == "uniform":
            bound = math.sqrt(3) * std
            return weight.uniform_(-bound, bound, generator=generator)
        if distribution == "normal":
            return weight.normal_(0.0, std, generator=generator)
    raise InvalidArgument("distribution", distribution, "one of uniform, normal")


def truncated_normal_(weight: Tensor, std: float = 0.05, *, generator: torch.Generator | None = None) -> Tensor:
    """Fill a weight with values from N(0, std^2), truncated at two standard deviations.

    As in Keras' `TruncatedNormal`, `std` is the standard deviation before the truncation. That of the values is 0.880
    times as large. (`torch.nn.init.trunc_normal_` truncates at -2 and 2 by default, without effect for a usual `std`.)

    Args:
        weight: Weight of any shape, filled in place.
        std: Standard deviation before the truncation, greater than 0.
        generator: Random number generator.

    Returns:
        The weight.

    Raises:
        InvalidArgument: `std` is not positive.
    """
    if not 0 < std < math.inf:
        raise InvalidArgument("std", std, "a number greater than 0")
    return nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)


def lsuv_(weight: Tensor, batch: Tensor, layer: nn.Module, *, generator: torch.Generator | None = None) -> Tensor:
    """Fill a weight with an orthonormal matrix, scaled so that the layer's outputs have a variance of 1.

    Layer-sequential unit variance: Mishkin and Matas 2016, "All you need is a good init", algorithm 1, with the
    orthonormal matrix of Saxe et al. 2014. The variance is taken over all images, units and positions. The paper's
    algorithm iterates, to support any layer. Here the outputs are linear in the weight, so one division by their
    standard deviation suffices. The outputs are computed without biases, whose variance no scaling of the weight
    changes.

    Args:
        weight: Weight of shape (out, in) or (out, in, ...), filled in place.
        batch: Input of the layer, shape (images, in, ...).
        layer: Layer that the weight belongs to, for its stride and padding.
        generator: Random number generator.

    Returns:
        The weight.

    Raises:
        InvalidArgument: The variance of the outputs is 0 or not finite.
    """
    nn.init.orthogonal_(weight, generator=generator)
    bias = getattr(layer, "bias", None)
    given = {"weight": weight} if bias is None else {"weight": weight, "bias": torch.zeros_like(bias)}
    with torch.no_grad():
        outputs: Tensor = torch.func.functional_call(layer, given, (batch,))
        std = outputs.double().std(correction=0).item()
        if not 0 < std < math.inf:
            allowed = f"images for which the outputs of {layer} vary. Their standard deviation is {std:g}."
            raise InvalidArgument("_target_", "lsuv_", allowed)
        return weight.div_(std)


def needs_batch(init: Callable[..., object]) -> bool:
    """Return whether an initializer has a parameter `batch`, for the input of the layer."""
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
    """Set the weights and biases of every linear and convolutional layer of a model, and nothing else.

    Weights and biases are drawn layer by layer from one generator, in the order of the model's layers. There are three
    kinds of biases, which do not depend on `init`:

    - `default`: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default, which the tutorial uses;
    - `zeros`: 0, as usual in papers;
    - `normal`: N(0, bias_std^2).

    The weights do not depend on the kind of biases, unless `init` uses the images.

    If `init` has a parameter `batch`, the images pass through the model in evaluation mode: nothing is dropped, and
    BatchNorm uses its initial statistics. A layer is initialized when the images reach it, and `batch` is its input.

    Args:
        model: Model, changed in place.
        init: Initializer, which fills a weight in place. Its first argument is the weight. It also gets those of three
            keyword arguments for which it has a parameter: `generator`; `batch`, shape (images, in, ...); `layer`, the
            module of the weight. Without a parameter `generator`, it draws the same stream from PyTorch's default
            generator.
        bias: Kind of biases: default, zeros or normal.
        generator: Random number generator on the device of the weights. An `init` without a parameter `generator` needs
            one on the CPU.
        bias_std: Standard deviation of normal biases, greater than 0; None for other biases.
        images: Images of shape (n, pixels), on the device of the weights, for an `init` with a parameter `batch`.

    Raises:
        InvalidArgument: `bias` is unknown; `bias_std` is missing or would be ignored; `init` does not fill its weight;
            or `init` needs a batch, but there are no images or they do not reach a layer.
    """
    _check_bias(bias, bias_std)
    layers: dict[nn.Module, str] = {layer: name for name, layer in model.named_modules() if isinstance(layer, WEIGHTED)}
    if not needs_batch(init):
        for layer in layers:
            _fill(layer, init, {}, generator)
            _fill_bias(layer, bias, bias_std, generator)
        return
    if images is None:
        raise InvalidArgument("images", None, f"images of shape (n, pixels), since {name_of(init)} needs a batch")

    def reached(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hooks.pop(layer).remove()  # first: `init` may call the layer, which must not fill it again
        _fill(layer, init, {"batch": (*args, *kwargs.values())[0]}, generator)
        _fill_bias(layer, bias, bias_std, generator)

    hooks: dict[nn.Module, RemovableHandle] = {
        layer: layer.register_forward_pre_hook(reached, with_kwargs=True) for layer in layers
    }
    try:
        with evaluating(model):
            model(images)
        if hooks:
            allowed = f"an initializer that needs no batch, since the model does not call {layers[next(iter(hooks))]}"
            raise InvalidArgument("_target_", name_of(init), allowed)
    finally:
        for hook in hooks.values():
            hook.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, without gradients; restore the mode of each module afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _fill(layer: Any, init: Callable[..., object], inputs: Mapping[str, Any], generator: torch.Generator) -> None:
    """Fill the weight of a layer by an initializer, and check that it is filled."""
    # NaN reveals an initializer that returns a new tensor, as in JAX, and leaves the layer's weight as it was.
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
        raise InvalidArgument("bias", bias, f"one of {', '.join(BIASES)}")
    if bias != "normal" and std is not None:
        raise InvalidArgument("bias_std", std, f"null for bias={bias}, which ignores it")
    if bias == "normal" and not (std is not None and 0 < std < math.inf):
        raise InvalidArgument(
            "bias_std", "null" if std is None else std, "a finite number greater than 0 for bias=normal"
        )


def _fill_bias(layer: Any, kind: str, std: float | None, generator: torch.Generator) -> None:
    """Set the biases of a layer. Each kind draws one number per bias, so later weights do not depend on the kind."""
    bias: Tensor | None = layer.bias
    if bias is None:
        return
    if kind == "normal":
        assert std is not None  # checked by `_check_bias`
        # Inverse transform sampling. The clamp avoids -1, which is drawn once in 2**24 times and would give infinity.
        bias.uniform_(-1.0, 1.0, generator=generator).clamp_(min=2**-24 - 1).erfinv_().mul_(math.sqrt(2) * std)
        return
    bound = 1 / math.sqrt(fans(layer.weight)[0]) if kind == "default" else 0.0
    bias.uniform_(-bound, bound, generator=generator)


@contextmanager
def _as_default(generator: torch.Generator) -> Iterator[None]:
    """Let PyTorch's default generator draw the stream of a generator, and advance the generator accordingly."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())
