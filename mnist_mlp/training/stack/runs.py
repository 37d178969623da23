"""One run of a stack."""

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from mnist_mlp.training.schedules import Schedule


@dataclass(frozen=True)
class Run:
    """One run of a stack.

    Attributes:
        model: a network that `suits` accepts, on the CPU; its parameters and running statistics become views into the
            stack, and are trained.
        optimizer: over the model's parameters; has taken no step yet. The stack does what its steps would do.
        batch_seed: of the batch order.
        dropout_seed: of dropout.
        schedule: of the learning rate; None leaves the optimizer its own.
        modules_seed: of whatever the optimizer draws from PyTorch's default generator.
    """

    model: nn.Sequential
    optimizer: Optimizer
    batch_seed: int
    dropout_seed: int
    schedule: Schedule | None = None
    modules_seed: int = 0
