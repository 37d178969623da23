"""One training step: loss, gradients, update; by whatever computes it fastest for the model and optimizer at hand."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from mnist_mlp.cpu import backprop, products, updates

Step = Callable[[Tensor, Tensor], tuple[Tensor | float, Tensor | int]]


def make_step(model: nn.Module, optimizer: Optimizer, dropout_seed: int) -> Step:
    """The training step of any model and optimizer.

    On the CPU, gradients of networks of known layers are computed by `mnist_mlp.cpu.backprop`, and the updates of the
    usual optimizers by `mnist_mlp.cpu.updates`; each gives what PyTorch's own gives but for rounding, and dropout draws
    other random numbers. Everything else is left to autograd and `optimizer.step`.

    Args:
        model: in training mode whenever a step is taken.
        optimizer: over the model's parameters; fresh.
        dropout_seed: seeds dropout, and PyTorch's default generator, which any other random module draws from.

    Returns:
        A function of images (batch, pixels) and labels (batch,) on the model's device that does one step, and gives
        their mean cross-entropy in nats before it and how many of them were classified right.
    """
    torch.manual_seed(dropout_seed)
    gradients = backprop.Backprop(model, dropout_seed) if backprop.suits(model) else autograd(model, optimizer)
    update = updates.Update(optimizer) if updates.suits(optimizer) else optimizer.step

    def step(images: Tensor, labels: Tensor) -> tuple[Tensor | float, Tensor | int]:
        result = gradients(images, labels)
        update()
        return result

    return step


def describe(model: nn.Module, optimizer: Optimizer) -> dict[str, str]:
    """How `make_step` computes a step, for the record: the ways agree but for rounding and the masks of dropout."""
    return {
        "gradients": "written out" if backprop.suits(model) else "autograd",
        "update": "single pass" if updates.suits(optimizer) else "torch.optim",
        "products": products.library() if backprop.suits(model) else "PyTorch",
    }


def autograd(model: nn.Module, optimizer: Optimizer) -> Step:
    """As `make_step`, without the update: PyTorch's own gradients of any model on any device."""

    def gradients(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad()
        logits = model(images)  # (batch, classes)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        return loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()

    return gradients
