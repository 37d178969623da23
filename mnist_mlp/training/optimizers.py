"""What the training loop and an optimizer ask of each other; what the loop cannot give is refused, never approximated.

The loop computes the gradients of a batch once, and calls `step()`. Optimizers that train some weights and have others
evaluated, as ScheduleFree's do (Defazio et al. 2024, "The Road Less Scheduled"), have methods `train` and `eval` for
it.
"""

import inspect
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import Optimizer

from mnist_mlp.run.schema import InvalidArgument


def has_modes(optimizer: Optimizer) -> bool:
    """Whether it has one mode for training and another for evaluation."""
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))


def set_mode(optimizer: Optimizer, training: bool) -> None:
    """Put an optimizer that has modes into the one for training, or into the one for evaluation."""
    if has_modes(optimizer):
        getattr(optimizer, "train" if training else "eval")()


def check_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse an optimizer that the loop cannot serve.

    Raises:
        InvalidArgument: its `step` needs arguments, such as a closure; or it leaves some of the parameters alone.
    """
    needs = _needed(optimizer.step)
    if needs:
        allowed = f"an optimizer whose step needs no arguments, as gradients are computed once a step, not {needs}"
        raise InvalidArgument("_target_", type(optimizer).__name__, allowed)
    moved = {p for group in optimizer.param_groups for p in group["params"]}
    left = [name for name, p in model.named_parameters() if p.requires_grad and p not in moved]
    if left:
        allowed = f"an optimizer of all parameters that require gradients, not without {', '.join(left)}"
        raise InvalidArgument("_target_", type(optimizer).__name__, allowed)


def _needed(function: Callable[..., object]) -> str:
    """The arguments that a function cannot be called without, in words; empty where there are none."""
    parameters = inspect.signature(function).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return ", ".join(p.name for p in parameters if p.default is p.empty and p.kind not in variadic)


class Statistics:
    """What a network collects while it is trained, which an optimizer that has other weights evaluated makes wrong.

    BatchNorm's running mean and variance, say, are those of the weights that are trained.

    Args:
        model: not trained yet.
        optimizer: of its parameters.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        buffers = model.named_buffers() if has_modes(optimizer) else []
        self._before = {name: buffer.clone() for name, buffer in buffers if buffer.is_floating_point()}

    def check(self) -> None:
        """Refuse the optimizer where such a buffer has changed.

        Raises:
            InvalidArgument: it names the buffers.
        """
        if not self._before:
            return
        buffers = dict(self.model.named_buffers())
        changed = [name for name, before in self._before.items() if not torch.equal(before, buffers[name])]
        if changed:
            allowed = (
                "an optimizer without a mode for evaluation, as this network has statistics of the weights that are "
                f"trained ({', '.join(changed)}); or a network that has none, as by model.batch_norm=false"
            )
            raise InvalidArgument("_target_", type(self.optimizer).__name__, allowed)
