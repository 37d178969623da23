"""The optimizers' updates, each written once: what becomes of one element.

A formula takes a parameter, its gradient, what the optimizer remembers of it, numbers that are the same for all
elements, and two operations, the square root and the larger of two; it returns the parameter and the memory as they
are after the step. It is the same for single numbers and for tensors: compiled, `over_elements` makes a loop over
arrays of it, and a stack calls it with the tensors of many runs. `mnist_mlp.training.rules` says where the numbers come
from. The mathematics is that of `torch.optim`'s documentation.
"""

# ruff: noqa: D103 - the names are the optimizers'

from collections.abc import Callable
from typing import Any

import numpy as np

Formula = Callable[..., tuple[Any, ...]]  # of numbers or of tensors


def sgd(p, g, lr, weight_decay, sqrt, maximum):
    return (p - lr * (g + weight_decay * p),)


def momentum(p, g, velocity, lr, momentum, fresh, of_gradient, of_velocity, weight_decay, sqrt, maximum):
    gradient = g + weight_decay * p
    velocity = momentum * velocity + fresh * gradient
    return p - lr * (of_gradient * gradient + of_velocity * velocity), velocity


def adagrad(p, g, total, lr, eps, weight_decay, sqrt, maximum):
    gradient = g + weight_decay * p
    total = total + gradient * gradient
    return p - lr * gradient / (sqrt(total) + eps), total


def rmsprop(p, g, square, lr, alpha, fresh, eps, weight_decay, sqrt, maximum):
    gradient = g + weight_decay * p
    square = alpha * square + fresh * gradient * gradient
    return p - lr * gradient / (sqrt(square) + eps), square


def centered_rmsprop(
    p, g, square, average, velocity, lr, alpha, fresh, eps, centered, momentum, weight_decay, sqrt, maximum
):
    gradient = g + weight_decay * p
    square = alpha * square + fresh * gradient * gradient
    average = average + fresh * (gradient - average)
    velocity = momentum * velocity + gradient / (sqrt(square - centered * average * average) + eps)
    return p - lr * velocity, square, average, velocity


def adadelta(p, g, square, delta_square, lr, rho, fresh, eps, weight_decay, sqrt, maximum):
    gradient = g + weight_decay * p
    square = rho * square + fresh * gradient * gradient
    delta = sqrt(delta_square + eps) / sqrt(square + eps) * gradient
    delta_square = rho * delta_square + fresh * delta * delta
    return p - lr * delta, square, delta_square


def adam(p, g, average, square, lr, fresh1, beta2, fresh2, of_root, eps, weight_decay, shrink, sqrt, maximum):
    gradient = g + weight_decay * p
    average = average + fresh1 * (gradient - average)
    square = beta2 * square + fresh2 * gradient * gradient
    return shrink * p - lr * average / (of_root * sqrt(square) + eps), average, square


def amsgrad(
    p, g, average, square, largest, lr, fresh1, beta2, fresh2, of_root, eps, weight_decay, shrink, sqrt, maximum
):
    gradient = g + weight_decay * p
    average = average + fresh1 * (gradient - average)
    square = beta2 * square + fresh2 * gradient * gradient
    largest = maximum(largest, square)
    return shrink * p - lr * average / (of_root * sqrt(largest) + eps), average, square, largest


def nadam(
    p,
    g,
    average,
    square,
    of_gradient,
    of_average,
    fresh1,
    beta2,
    fresh2,
    of_root,
    eps,
    weight_decay,
    shrink,
    sqrt,
    maximum,
):
    gradient = g + weight_decay * p
    average = average + fresh1 * (gradient - average)
    square = beta2 * square + fresh2 * gradient * gradient
    direction = of_gradient * gradient + of_average * average
    return shrink * p - direction / (of_root * sqrt(square) + eps), average, square


def adamax(p, g, average, largest, lr, fresh1, beta2, eps, weight_decay, sqrt, maximum):
    gradient = g + weight_decay * p
    average = average + fresh1 * (gradient - average)
    largest = maximum(beta2 * largest, abs(gradient) + eps)
    return p - lr * average / largest, average, largest


def over_elements(formula: Formula, remembered: int) -> Callable[..., None]:
    """A loop that updates vectors in place: parameters, from gradients, arrays that are remembered, and numbers.

    It stands in this file as Numba keeps what it has compiled for as long as the loop's own file is unchanged.

    Args:
        formula: one of the above.
        remembered: how many arrays it remembers, at most three.
    """
    sqrt, maximum = np.sqrt, np.maximum

    def none(p: np.ndarray, g: np.ndarray, *numbers: float) -> None:
        for i in range(len(p)):
            (p[i],) = formula(p[i], g[i], *numbers, sqrt, maximum)

    def one(p: np.ndarray, g: np.ndarray, m: np.ndarray, *numbers: float) -> None:
        for i in range(len(p)):
            p[i], m[i] = formula(p[i], g[i], m[i], *numbers, sqrt, maximum)

    def two(p: np.ndarray, g: np.ndarray, m: np.ndarray, n: np.ndarray, *numbers: float) -> None:
        for i in range(len(p)):
            p[i], m[i], n[i] = formula(p[i], g[i], m[i], n[i], *numbers, sqrt, maximum)

    def three(p: np.ndarray, g: np.ndarray, m: np.ndarray, n: np.ndarray, o: np.ndarray, *numbers: float) -> None:
        for i in range(len(p)):
            p[i], m[i], n[i], o[i] = formula(p[i], g[i], m[i], n[i], o[i], *numbers, sqrt, maximum)

    return (none, one, two, three)[remembered]
