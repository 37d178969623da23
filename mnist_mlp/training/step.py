"""Training step of one run, by the fastest method that the model and the optimizer support."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from mnist_mlp.training.fused import backprop
from mnist_mlp.training.optimizers import Statistics, check_optimizer, needs_only_gradients, restore_storage
from mnist_mlp.training.seeds import Seeds, seed_default_generators
from mnist_mlp.training.updates import fused

Loss = Tensor | float
Count = Tensor | int


@dataclass(frozen=True)
class Step:
    """Training step in two halves.

    Attributes:
        gradients: Function that sets the gradients of the parameters. It maps images (batch, pixels) and labels
            (batch,) to their mean cross-entropy in nats and the number of correctly classified images. Images and
            labels are on the model's device.
        update: Function that updates the parameters, using their gradients.
    """

    gradients: Callable[[Tensor, Tensor], tuple[Loss, Count]]
    update: Callable[[], object]

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Loss, Count]:
        """Take the step, and return loss and count from before the update."""
        result = self.gradients(images, labels)
        self.update()
        return result


def make_step(model: nn.Module, optimizer: Optimizer, seeds: Seeds) -> Step:
    """Return the training step of a model and an optimizer.

    In general, autograd computes the gradients, and the optimizer's `step` updates the parameters. Two faster methods
    exist on the CPU:

    - If all layers are known and the optimizer uses only values and gradients of the parameters,
      `mnist_mlp.training.fused` computes the gradients.
    - If the optimizer has an update function in addition, `mnist_mlp.training.updates.fused` updates the parameters.

    Args:
        model: Model, which must be in training mode at each step.
        optimizer: Optimizer of the model's parameters that has taken no step yet. If it has modes, it must be in
            training mode at each step.
        seeds: Seeds of the run. The seeds of dropout and of modules also seed the default generators of PyTorch, NumPy
            and Python. With autograd, dropout draws from PyTorch's default generator.

    Raises:
        InvalidArgument: The loop does not support the optimizer (see `mnist_mlp.training.optimizers`). The first step
            may raise it, too, if the optimizer does not work with this model.
    """
    check_optimizer(model, optimizer)
    seed_default_generators(seeds.dropout, seeds.modules)
    if supports_fused(model, optimizer):
        single_pass = backprop.Backprop(model, seeds.dropout)
        if fused.supports(optimizer):
            return Step(single_pass, fused.FusedUpdate(optimizer))
        own = [(p, p.detach()) for p in model.parameters()]

        def in_place() -> None:
            places = [(p, values, p.grad) for p, values in own]
            optimizer.step()
            restore_storage(places)

        return Step(single_pass, in_place)
    statistics = Statistics(model, optimizer)

    def gradients(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad()
        logits = model(images)  # (batch, classes)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        return loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()

    def update() -> None:
        statistics.check()
        optimizer.step()

    return Step(gradients, update)


def supports_fused(model: nn.Module, optimizer: Optimizer) -> TypeGuard[nn.Sequential]:
    """Return whether fused kernels can compute the gradients.

    Autograd would give the same gradients, except for rounding and dropout masks. A user-defined optimizer is supported
    only if it declares to need nothing but gradients. Any other could depend on the behavior of autograd, or replace
    tensors that the fused kernels refer to.
    """
    is_safe = fused.supports(optimizer) or (needs_only_gradients(optimizer) and not fused.has_custom_step(optimizer))
    return backprop.supports(model) and is_safe and has_all_parameters(model, optimizer)


def has_all_parameters(model: nn.Module, optimizer: Optimizer) -> bool:
    """Return whether an optimizer has exactly the parameters of the model."""
    return {p for group in optimizer.param_groups for p in group["params"]} == set(model.parameters())


class StepPath(StrEnum):
    """Method by which a training step is computed, as recorded in `run.json`."""

    AUTOGRAD = "autograd"
    FUSED = "fused kernels"
    FUSED_GRADIENTS = "fused gradients, optimizer.step"


def path(model: nn.Module, optimizer: Optimizer) -> StepPath:
    """Return the method by which a training step of this model and optimizer is computed."""
    if not supports_fused(model, optimizer):
        return StepPath.AUTOGRAD
    return StepPath.FUSED if fused.supports(optimizer) else StepPath.FUSED_GRADIENTS
