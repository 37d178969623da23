"""Warm-up: trigger compilation and lazy loading before the training clock starts."""

import copy
import logging
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_mlp.base.errors import InvalidArgument
from mnist_mlp.base.torch_internals import has_global_module_hooks, has_global_step_hooks, has_hooks
from mnist_mlp.data.splits import Split
from mnist_mlp.training.optimizers import set_mode
from mnist_mlp.training.seeds import derive_seeds
from mnist_mlp.training.step import make_step

log = logging.getLogger(__name__)


def warm_up(model: nn.Module, optimizer: Optimizer, split: Split, sizes: Iterable[int]) -> None:
    """Train a copy of the model for one step of each batch size. The model and its optimizer do not change.

    The first step in a process loads or compiles kernels, and libraries prepare for each new batch size. Without a
    warm-up, this time would count as training time of the first run. The states of the default generators of PyTorch,
    NumPy and Python change, so the run must seed them afterwards.

    If the model or the optimizer has hooks, the warm-up is skipped: hooks may write to objects that are not copied.

    Args:
        model: Model on the device of the split.
        optimizer: Optimizer of the model's parameters.
        split: Training split. Each batch consists of its first images.
        sizes: Batch sizes, each at most the size of the split.

    Raises:
        InvalidArgument: The loop does not support the optimizer, as in `make_step`.
    """
    if _is_watched(model, optimizer):
        return
    before: list[tuple[Tensor, Tensor]] = []
    try:
        before += [(tensor, tensor.detach().clone()) for tensor in (*model.parameters(), *model.buffers())]
        twin, its_optimizer = _copied(model, optimizer)
        step = make_step(twin.train(), its_optimizer, derive_seeds(0))
        set_mode(its_optimizer, training=True)
        for size in sorted(set(sizes), reverse=True):
            step(*split.take(slice(size)))
    except InvalidArgument:
        raise
    except Exception as error:  # user-defined code may not support copies; other errors will recur in training
        log.info(
            "the column seconds includes compilation, since the warm-up failed: %s: %s",
            type(error).__name__,
            error,
        )
    finally:
        with torch.no_grad():  # a copy may still refer to the original, for instance by a closure
            for tensor, values in before:
                tensor.copy_(values)


def _copied(model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
    """Return a copy of the model, and a copy of the optimizer with the copied parameters."""
    copies: dict[int, object] = {}
    twin = copy.deepcopy(model, copies)
    if not set(model.parameters()).isdisjoint(twin.parameters()):
        raise TypeError("a copy of the network shares parameters with it")
    its_optimizer = object.__new__(type(optimizer))  # `copy.deepcopy` of an optimizer loses attributes of subclasses
    vars(its_optimizer).update(copy.deepcopy(vars(optimizer), copies))
    return twin, its_optimizer


def _is_watched(model: nn.Module, optimizer: Optimizer) -> bool:
    return (
        has_global_module_hooks()
        or has_global_step_hooks()
        or any(map(has_hooks, model.modules()))
        or has_hooks(optimizer)
    )
