"""One training step, by the fastest path that the network and the optimizer allow."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from mnist_mlp.training.fused import backprop
from mnist_mlp.training.optimizers import Statistics, check_optimizer, needs_only_gradients, put_back
from mnist_mlp.training.seeds import Seeds, seed_default_generators
from mnist_mlp.training.updates import fused

Loss = Tensor | float
Count = Tensor | int


@dataclass(frozen=True)
class Step:
    """A training step in two halves.

    Attributes:
        gradients: from images (batch, pixels) and labels (batch,), on the model's device, to their mean cross-entropy
            in nats and the number of them that were classified right; sets the gradients of the model's parameters.
        update: moves the parameters by their gradients.
    """

    gradients: Callable[[Tensor, Tensor], tuple[Loss, Count]]
    update: Callable[[], object]

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Loss, Count]:
        """Take the step; loss and count are those before the update."""
        result = self.gradients(images, labels)
        self.update()
        return result


def make_step(model: nn.Module, optimizer: Optimizer, seeds: Seeds) -> Step:
    """The training step of any model and optimizer.

    On the CPU, `mnist_mlp.training.fused` computes the gradients of networks of known layers, if the optimizer uses
    only a parameter's values and gradient, and `mnist_mlp.training.updates.fused` takes the steps of optimizers that
    have an update function. Everything else is left to autograd and `optimizer.step`.

    Args:
        model: in training mode whenever a step is taken.
        optimizer: over the model's parameters; has taken no step yet; if it has modes, in that for training whenever a
            step is taken.
        seeds: of dropout, and of whatever else in the network is random. What is left to autograd draws both from
            PyTorch's default generator, which both seeds then decide, as they do NumPy's and Python's.

    Raises:
        InvalidArgument: the optimizer cannot be served (see `mnist_mlp.training.optimizers`), or at its first step not
            together with this network.
    """
    check_optimizer(model, optimizer)
    seed_default_generators(seeds.dropout, seeds.modules)
    if is_known(model, optimizer):
        single_pass = backprop.Backprop(model, seeds.dropout)
        if fused.supports(optimizer):
            return Step(single_pass, fused.FusedUpdate(optimizer))
        own = [(p, p.detach()) for p in model.parameters()]

        def in_place() -> None:
            places = [(p, values, p.grad) for p, values in own]
            optimizer.step()
            put_back(places)

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


def is_known(model: nn.Module, optimizer: Optimizer) -> TypeGuard[nn.Sequential]:
    """Whether gradients are computed in single passes; else they agree but for rounding and for the masks of dropout.

    Somebody's optimizer may do with the gradients, and somebody's model with the parameters, what the other half would
    not notice, such as putting another tensor in their place.
    """
    is_safe = fused.supports(optimizer) or (needs_only_gradients(optimizer) and not fused.is_watched(optimizer))
    return backprop.supports(model) and is_safe and has_all(model, optimizer)


def has_all(model: nn.Module, optimizer: Optimizer) -> bool:
    """Whether an optimizer's parameters are those of the network, all of them and no others."""
    return {p for group in optimizer.param_groups for p in group["params"]} == set(model.parameters())


class StepPath(StrEnum):
    """How a step is computed, as `run.json` has it."""

    AUTOGRAD = "autograd"
    FUSED = "single passes"
    FUSED_GRADIENTS = "gradients in single passes, the optimizer's own step"


def path(model: nn.Module, optimizer: Optimizer) -> StepPath:
    """Return how a step is computed."""
    if not is_known(model, optimizer):
        return StepPath.AUTOGRAD
    return StepPath.FUSED if fused.supports(optimizer) else StepPath.FUSED_GRADIENTS
