"""One run of a stack."""

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from mnist_mlp.training.schedules import Schedule
from mnist_mlp.training.seeds import Seeds


@dataclass(frozen=True)
class Run:
    """One run of a stack.

    Attributes:
        model: Network that `supports` accepts, on the CPU. Its parameters and running statistics become views into
            the stack, and are trained.
        optimizer: over the model's parameters; has taken no step yet. The stack does what its steps would do.
        seeds: of the batch order, of dropout, and (`modules`) of whatever the optimizer draws from PyTorch's default
            generator.
        schedule: of the learning rate; None leaves the optimizer its own.
    """

    model: nn.Sequential
    optimizer: Optimizer
    seeds: Seeds
    schedule: Schedule | None = None
