"""Run of a stack: model, optimizer, seeds and schedule."""

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from mnist_mlp.training.schedules import Schedule
from mnist_mlp.training.seeds import Seeds


@dataclass(frozen=True)
class Run:
    """One run of a stack.

    Attributes:
        model: Model that `loop.supports` accepts, on the CPU. Its parameters and running statistics become views of the
            stack's tensors, and are trained.
        optimizer: Optimizer of the model's parameters that has taken no step yet. The stack takes equivalent steps.
        seeds: Seeds of the run. If the optimizer draws from PyTorch's default generator, this generator is seeded by
            the seeds of dropout and of modules.
        schedule: Learning-rate schedule; None does not change the optimizer's learning rates.
    """

    model: nn.Sequential
    optimizer: Optimizer
    seeds: Seeds
    schedule: Schedule | None = None
