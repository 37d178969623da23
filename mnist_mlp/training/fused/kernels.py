"""Elementwise kernels of a training step, each a single pass over memory.

At a batch size of 32, the overhead of a PyTorch operation exceeds its computation, and some operations write results
that are read only once. A fused kernel does everything with an element while it is in a register.

Activations have shape (features, batch), with one image per column. All arrays are C-contiguous and of one floating
dtype. Kernels compute in this dtype, but sum in double precision. The outputs of a kernel are its first arguments.
"""

# ruff: noqa: D417 - arguments that are alike share a line

from typing import Any

import numpy as np

from mnist_mlp.base.numba_jit import jit

Array = Any  # np.ndarray for callers; Numba compiles a kernel for each dtype


@jit
def add_bias(x: Array, bias: Array) -> None:
    """Add `bias` (features,) to every column of `x` (features, batch)."""
    for i in range(len(x)):
        for b in range(x.shape[1]):
            x[i, b] += bias[i]


@jit
def add_bias_backward(bias_gradient: Array, gradient: Array) -> None:
    """Sum `gradient` (features, batch) over the batch into `bias_gradient` (features,)."""
    for i in range(len(gradient)):
        total = 0.0
        for b in range(gradient.shape[1]):
            total += gradient[i, b]
        bias_gradient[i] = total


@jit
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
        out: Output, normalized * weight + bias, shape (features, batch).
        normalized: Output for the backward pass, (x - mean) / sqrt(var + eps), shape (features, batch).
        inverse_std: Output for the backward pass, 1 / sqrt(var + eps), shape (features,).
        running_mean, running_var: Running averages of shape (features,), updated with the mean and the unbiased
            variance of the batch.
        x: Input of shape (features, batch), with at least two images.
        weight, bias: Parameters of shape (features,).
        momentum: Weight of the batch in the running averages, in [0, 1].
        eps: Constant that is added to the variance.
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


@jit
def batch_norm_backward(
    gradient: Array,
    weight_gradient: Array,
    bias_gradient: Array,
    normalized: Array,
    inverse_std: Array,
    weight: Array,
) -> None:
    """Backward pass of `batch_norm`.

    Args:
        gradient: Gradient with respect to the output, shape (features, batch); replaced by the gradient with respect to
            the input.
        weight_gradient, bias_gradient: Output, the gradients with respect to the parameters, shape (features,).
        normalized, inverse_std: Arrays that `batch_norm` has written.
        weight: Parameter of shape (features,).
    """
    features, n = gradient.shape
    kind = gradient.dtype.type
    for i in range(features):
        grad_bias, grad_weight = 0.0, 0.0
        for b in range(n):
            grad_bias += gradient[i, b]
            grad_weight += gradient[i, b] * normalized[i, b]
        bias_gradient[i], weight_gradient[i] = grad_bias, grad_weight
        mean, slope, scale = kind(grad_bias / n), kind(grad_weight / n), weight[i] * inverse_std[i]
        for b in range(n):
            gradient[i, b] = (gradient[i, b] - mean - normalized[i, b] * slope) * scale


@jit
def relu(x: Array) -> None:
    """Set negative elements to 0, in place. NaN stays NaN."""
    flat = x.reshape(-1)
    for i in range(len(flat)):
        flat[i] = 0 if flat[i] < 0 else flat[i]


@jit
def relu_backward(gradient: Array, out: Array) -> None:
    """Backward pass of `relu`, in place.

    Args:
        gradient: Gradient with respect to the output; replaced by the gradient with respect to the input.
        out: Output of `relu`, of the same shape.
    """
    flat, flat_out = gradient.reshape(-1), out.reshape(-1)
    for i in range(len(flat)):
        flat[i] = 0 if flat_out[i] <= 0 else flat[i]


@jit
def dropout(out: Array, factor: Array, x: Array, bits: Array, threshold: int, scale: float) -> None:
    """Dropout: multiply each element by 0 or `scale`.

    Args:
        out: Output, x * factor, shape (features, batch).
        factor: Output for the backward pass, 0 or `scale`, shape (features, batch).
        x: Input of shape (features, batch).
        bits: Uniform unsigned random integers, at least one per element.
        threshold: Smallest random integer for which an element is kept.
        scale: Factor of elements that are kept.
    """
    flat, flat_factor, flat_x = out.reshape(-1), factor.reshape(-1), x.reshape(-1)
    scale = x.dtype.type(scale)
    for i in range(len(flat)):
        flat_factor[i] = 0 if bits[i] < threshold else scale
        flat[i] = flat_x[i] * flat_factor[i]


@jit
def multiply(x: Array, factor: Array) -> None:
    """Multiply `x` by `factor`, in place."""
    flat, flat_factor = x.reshape(-1), factor.reshape(-1)
    for i in range(len(flat)):
        flat[i] *= flat_factor[i]


@jit
def cross_entropy(gradient: Array, logits: Array, labels: Array) -> tuple[float, int]:
    """Mean cross-entropy of the softmax of the logits, and its gradient with respect to the logits.

    Args:
        gradient: Output, the gradient, shape (classes, batch).
        logits: Logits of shape (classes, batch).
        labels: Labels of shape (batch,), each in 0..classes-1.

    Returns:
        Loss in nats, and number of correctly classified images; of equal logits, the first one wins.

    Raises:
        IndexError: A label is not in 0..classes-1.
    """
    classes, n = logits.shape
    loss, correct = 0.0, 0
    for b in range(n):
        if not 0 <= labels[b] < classes:
            raise IndexError("a label is not in 0..classes-1")
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
