"""Requirements of the training loop on optimizers, and the rejection of unsupported optimizers.

The loop computes the gradients of a batch once, and then calls `step()`. Some optimizers train one set of weights and
evaluate another, such as ScheduleFree (Defazio et al. 2024, "The Road Less Scheduled"). They have a training and an
evaluation mode; their methods `train` and `eval` switch between the two.
"""

import inspect
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_mlp.base.errors import InvalidArgument
from mnist_mlp.data.batches import batch_sizes
from mnist_mlp.data.splits import Split
from mnist_mlp.training.updates.functions import UPDATE_SPECS

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
STATISTICS_BATCH = 500  # images per batch when BatchNorm's statistics are recomputed

# Optimizers that use only a parameter's values, its `grad` and the optimizer state. They are identified by the names of
# package and class, since some packages are optional.
KNOWN = {
    *(f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}" for kind in UPDATE_SPECS),
    *("torch.ASGD", "torch.Adafactor", "torch.Muon", "torch.Rprop"),
    "mnist_mlp.Muon",
    *("pytorch_optimizer.Lion", "pytorch_optimizer.Prodigy", "pytorch_optimizer.ScheduleFreeAdamW"),
    "schedulefree.AdamWScheduleFree",
}


def needs_only_gradients(optimizer: Optimizer) -> bool:
    """Return whether an optimizer uses only a parameter's values, its `grad` and the optimizer state.

    A user-defined optimizer declares this by the class attribute `elementwise = True`. The attribute is not inherited,
    since a subclass may override anything.
    """
    kind = type(optimizer)
    is_known = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}" in KNOWN
    return is_known or vars(kind).get("elementwise") is True


def restore_storage(places: Iterable[tuple[nn.Parameter, Tensor, Tensor | None]]) -> None:
    """Copy new values back into the original storage, for optimizers that rebind `p.data` or `p.grad`.

    Args:
        places: Each parameter, with the tensors that held its values and its gradient before the step.
    """
    for p, values, gradient in places:
        p.grad = gradient
        if p.data_ptr() != values.data_ptr():
            with torch.no_grad():
                values.copy_(p)
            p.data = values


def has_modes(optimizer: Optimizer) -> bool:
    """Return whether an optimizer has separate modes for training and evaluation."""
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))


def set_mode(optimizer: Optimizer, training: bool) -> None:
    """Put an optimizer into training or evaluation mode, if it has modes."""
    if has_modes(optimizer):
        getattr(optimizer, "train" if training else "eval")()


def check_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    """Check that the training loop supports an optimizer.

    Raises:
        InvalidArgument: The method `step` needs arguments, such as a closure; a parameter group has no learning rate;
            or a parameter that requires gradients is not in any group.
    """
    needs = _needed(optimizer.step)
    if needs:
        allowed = f"an optimizer whose step needs no arguments, since gradients are computed once per step, not {needs}"
        raise InvalidArgument("_target_", type(optimizer).__name__, allowed)
    if not all("lr" in group for group in optimizer.param_groups):
        allowed = "an optimizer with a learning rate, lr, in each parameter group"
        raise InvalidArgument("_target_", type(optimizer).__name__, allowed)
    moved = {p for group in optimizer.param_groups for p in group["params"]}
    left = [name for name, p in model.named_parameters() if p.requires_grad and p not in moved]
    if left:
        allowed = f"an optimizer of all parameters that require gradients. Missing: {', '.join(left)}"
        raise InvalidArgument("_target_", type(optimizer).__name__, allowed)


def _needed(function: Callable[..., object]) -> str:
    """Return the required arguments of a function, separated by commas; empty without any."""
    parameters = inspect.signature(function).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return ", ".join(p.name for p in parameters if p.default is p.empty and p.kind not in variadic)


class Statistics:
    """Statistics that a model collects during training, for optimizers that evaluate other weights than they train.

    The collected statistics belong to the trained weights. BatchNorm's statistics are recomputed for the evaluated
    weights. A model that collects other statistics cannot be trained with such an optimizer.

    Args:
        model: Model before its first training step.
        optimizer: Optimizer of the model's parameters.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._norms = [m for m in model.modules() if isinstance(m, BatchNorm) and m.track_running_stats]
        known = {buffer for norm in self._norms for buffer in norm.buffers()}
        buffers = model.named_buffers() if has_modes(optimizer) else []
        self._before = {
            name: buffer.clone() for name, buffer in buffers if buffer.is_floating_point() and buffer not in known
        }

    def check(self) -> None:
        """Check that training has changed no buffers except BatchNorm's. Others could not be recomputed.

        Raises:
            InvalidArgument: Other buffers have changed; the message names them.
        """
        if not self._before:
            return
        buffers = dict(self._model.named_buffers())
        changed = [name for name, before in self._before.items() if not torch.equal(before, buffers[name])]
        if changed:
            allowed = (
                "an optimizer without an evaluation mode, since the model collects statistics during training "
                f"({', '.join(changed)}); or a model without such statistics"
            )
            raise InvalidArgument("_target_", type(self._optimizer).__name__, allowed)

    @torch.no_grad()
    def renew(self, split: Split) -> None:
        """Recompute BatchNorm's running mean and variance for the evaluated weights.

        The mean and variance become averages over batches that cover all training images, without dropout. (Defazio et
        al. 2024, "The Road Less Scheduled", section 4.1, use only some batches.)

        Args:
            split: Training split.
        """
        if not has_modes(self._optimizer) or not self._norms:
            return
        self._model.eval()
        before = [(norm, norm.momentum, _count(norm).clone()) for norm in self._norms]
        try:
            for norm in self._norms:
                norm.reset_running_stats()
                norm.momentum = None  # PyTorch then averages over the batches
                norm.train()
            start = 0
            for size in batch_sizes(len(split), STATISTICS_BATCH):
                self._model(split.take(slice(start, start + size))[0])
                start += size
        finally:
            for norm, momentum, count in before:
                norm.momentum = momentum
                _count(norm).copy_(count)
                norm.eval()


def _count(norm: BatchNorm) -> Tensor:
    assert norm.num_batches_tracked is not None
    return norm.num_batches_tracked
