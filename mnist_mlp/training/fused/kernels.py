"""Elementwise work of a training step, each kernel a single pass over memory.

At a batch of 32 a PyTorch operation takes longer to start than to compute, and some draw and write what is read once.
Here a pass does all there is to do with an element while it is in a register. Arrays of activations have shape
(features, batch), one image a column; all are C-contiguous and of one floating type, which the arithmetic keeps but for
sums, which are taken in double precision. A kernel's first arguments are what it writes.
"""

# ruff: noqa: D417 - arguments that are alike share a line

from typing import Any

import numpy as np

from mnist_mlp.base.numba_jit import compiled

Array = Any  # np.ndarray to the caller; Numba compiles a kernel for each type that it meets


@compiled
def add_bias(x: Array, bias: Array) -> None:
    """Add `bias` (features,) to every column of `x` (features, batch)."""
    for i in range(len(x)):
        for b in range(x.shape[1]):
            x[i, b] += bias[i]


@compiled
def add_bias_backward(bias_gradient: Array, gradient: Array) -> None:
    """Sum `gradient` (features, batch) over the batch into `bias_gradient` (features,)."""
    for i in range(len(gradient)):
        total = 0.0
        for b in range(gradient.shape[1]):
            total += gradient[i, b]
        bias_gradient[i] = total


@compiled
def batch_norm(
    out: Array,
    normalized: Array,
    inverse_std: Array,
    running_mean: Array,
    running_var: Array,
    x: Array,
    weight: Array,
    bias: Array,
    momentum: float,
    eps: float,
) -> None:
    """Batch normalization in training mode (Ioffe and Szegedy 2015, algorithm 1), with PyTorch's running averages.

    Args:
        out: (features, batch), normalized * weight + bias.
        normalized: (features, batch), (x - mean) / sqrt(var + eps): for the backward pass.
        inverse_std: (features,), 1 / sqrt(var + eps): for the backward pass.
        running_mean, running_var: (features,), moved by `momentum` towards the batch's mean and unbiased variance.
        x: (features, batch), of at least two columns.
        weight, bias: (features,).
        momentum: of the running averages, in [0, 1].
        eps: added to the variance.
    """
    features, n = x.shape
    kind = x.dtype.type
    for i in range(features):
        total = 0.0  # double precision, as in PyTorch
        for b in range(n):
            total += x[i, b]
        mean = kind(total / n)
        squares = 0.0
        for b in range(n):
            squares += (x[i, b] - mean) ** 2
        running_mean[i] += momentum * (mean - running_mean[i])
        running_var[i] += momentum * (squares / (n - 1) - running_var[i])
        inverse = kind(1 / np.sqrt(squares / n + eps))
        inverse_std[i] = inverse
        for b in range(n):
            normalized[i, b] = (x[i, b] - mean) * inverse
            out[i, b] = normalized[i, b] * weight[i] + bias[i]


@compiled
def batch_norm_backward(
    gradient: Array,
    weight_gradient: Array,
    bias_gradient: Array,
    normalized: Array,
    inverse_std: Array,
    weight: Array,
) -> None:
    """Turn the gradient by `batch_norm`'s output, in place, into that by its input; and give those by its parameters.

    Args:
        gradient: (features, batch).
        weight_gradient, bias_gradient: (features,).
        normalized, inverse_std, weight: as `batch_norm` had them.
    """
    features, n = gradient.shape
    kind = gradient.dtype.type
    for i in range(features):
        by_bias, by_weight = 0.0, 0.0
        for b in range(n):
            by_bias += gradient[i, b]
            by_weight += gradient[i, b] * normalized[i, b]
        bias_gradient[i], weight_gradient[i] = by_bias, by_weight
        mean, slope, scale = kind(by_bias / n), kind(by_weight / n), weight[i] * inverse_std[i]
        for b in range(n):
            gradient[i, b] = (gradient[i, b] - mean - normalized[i, b] * slope) * scale


@compiled
def relu(x: Array) -> None:
    """Set what is negative to 0, in place; NaN stays."""
    flat = x.reshape(-1)
    for i in range(len(flat)):
        flat[i] = 0 if flat[i] < 0 else flat[i]


@compiled
def relu_backward(gradient: Array, out: Array) -> None:
    """Turn the gradient by `relu`'s output `out`, in place, into that by its input."""
    flat, flat_out = gradient.reshape(-1), out.reshape(-1)
    for i in range(len(flat)):
        flat[i] = 0 if flat_out[i] <= 0 else flat[i]


@compiled
def dropout(out: Array, factor: Array, x: Array, bits: Array, threshold: int, scale: float) -> None:
    """Multiply by a random factor: 0 where the random bits are below `threshold`, `scale` elsewhere.

    Args:
        out: (features, batch), x * factor.
        factor: (features, batch).
        x: (features, batch).
        bits: unsigned integers, uniform, at least as many as x has elements.
        threshold: what is below is dropped.
        scale: of what is kept.
    """
    flat, flat_factor, flat_x = out.reshape(-1), factor.reshape(-1), x.reshape(-1)
    scale = x.dtype.type(scale)
    for i in range(len(flat)):
        flat_factor[i] = 0 if bits[i] < threshold else scale
        flat[i] = flat_x[i] * flat_factor[i]


@compiled
def multiply(x: Array, factor: Array) -> None:
    """Multiply `x` by `factor`, in place."""
    flat, flat_factor = x.reshape(-1), factor.reshape(-1)
    for i in range(len(flat)):
        flat[i] *= flat_factor[i]


@compiled
def cross_entropy(gradient: Array, logits: Array, labels: Array) -> tuple[float, int]:
    """Mean cross-entropy of the softmax of the logits, and its gradient by them.

    Args:
        gradient: (classes, batch).
        logits: (classes, batch).
        labels: (batch,), each in 0..classes-1.

    Returns:
        The loss in nats, and for how many images the first largest logit is the label's.

    Raises:
        IndexError: a label is outside.
    """
    classes, n = logits.shape
    loss, correct = 0.0, 0
    for b in range(n):
        if not 0 <= labels[b] < classes:
            raise IndexError("a label has no logit")
        top = 0
        for i in range(1, classes):
            if logits[i, b] > logits[top, b]:
                top = i
        total = 0.0
        for i in range(classes):
            gradient[i, b] = np.exp(logits[i, b] - logits[top, b])
            total += gradient[i, b]
        for i in range(classes):
            gradient[i, b] = (gradient[i, b] / total - (i == labels[b])) / n
        loss += np.log(total) - (logits[labels[b], b] - logits[top, b])
        correct += top == labels[b]
    return loss / n, correct
