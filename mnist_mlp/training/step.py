"""Training step, by the fastest path that the model and the optimizer support."""

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
        gradients: Function that maps images (batch, pixels) and labels (batch,), on the model's device, to their mean
            cross-entropy in nats and the number of correctly classified images. It sets the gradients of the
            parameters.
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

    On the CPU, `mnist_mlp.training.fused` computes the gradients of known layers if the optimizer uses only a
    parameter's values and gradient, and `mnist_mlp.training.updates.fused` updates the parameters if the optimizer has
    an update function. Other models use autograd, other optimizers their method `step`.

    Args:
        model: Model, which must be in training mode at each step.
        optimizer: Optimizer of the model's parameters that has taken no step yet. If it has modes, it must be in
            training mode at each step.
        seeds: Seeds of the run. The default generators of PyTorch, NumPy and Python are seeded from those of dropout
            and of modules; with autograd, dropout draws from the default generator of PyTorch.

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

    Autograd gives the same gradients, except for rounding and dropout masks.

    A user-defined optimizer is excluded unless it declares to need only gradients: it could depend on autograd's
    behavior, or replace the tensors that the fused kernels refer to.
    """
    is_safe = fused.supports(optimizer) or (needs_only_gradients(optimizer) and not fused.has_custom_step(optimizer))
    return backprop.supports(model) and is_safe and has_all_parameters(model, optimizer)


def has_all_parameters(model: nn.Module, optimizer: Optimizer) -> bool:
    """Return whether an optimizer has exactly the parameters of the model."""
    return {p for group in optimizer.param_groups for p in group["params"]} == set(model.parameters())


class StepPath(StrEnum):
    """Computation of a training step, as recorded in `run.json`."""

    AUTOGRAD = "autograd"
    FUSED = "fused kernels"
    FUSED_GRADIENTS = "fused gradients, optimizer.step"


def path(model: nn.Module, optimizer: Optimizer) -> StepPath:
    """Return the computation of a training step of this model and optimizer."""
    if not supports_fused(model, optimizer):
        return StepPath.AUTOGRAD
    return StepPath.FUSED if fused.supports(optimizer) else StepPath.FUSED_GRADIENTS
