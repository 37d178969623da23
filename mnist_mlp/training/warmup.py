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
    """Train a copy of the network for one step of each batch size; the network and its optimizer stay as they are.

    The first step in a process loads or compiles its kernels, and the first of each size has libraries prepare for it,
    which would all count as training time of whichever run came first. PyTorch's, NumPy's and Python's default
    generators are left in some other state, so a run seeds them afterwards.

    A network or optimizer that has hooks is left alone, as these may write to what is not copied with it.

    Args:
        model: on the split's device.
        optimizer: over the model's parameters.
        split: the training images, of which the first are taken.
        sizes: images of each batch, each at most as many as there are.

    Raises:
        InvalidArgument: as `make_step` and its step.
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
    except Exception as error:  # anybody's code may not like to be copied; what else is wrong, training will show
        log.info(
            "the column seconds includes compilation, as the first step could not be rehearsed: %s: %s",
            type(error).__name__,
            error,
        )
    finally:
        with torch.no_grad():  # a copy may have kept a way to the original, as by a function of its own
            for tensor, values in before:
                tensor.copy_(values)


def _copied(model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
    """Copies of both, the optimizer's being over the parameters of the network's."""
    copies: dict[int, object] = {}
    twin = copy.deepcopy(model, copies)
    if not set(model.parameters()).isdisjoint(twin.parameters()):
        raise TypeError("a copy of the network has some of its parameters")
    its_optimizer = object.__new__(type(optimizer))  # PyTorch's own way to copy one forgets what its subclasses add
    vars(its_optimizer).update(copy.deepcopy(vars(optimizer), copies))
    return twin, its_optimizer


def _is_watched(model: nn.Module, optimizer: Optimizer) -> bool:
    return (
        has_global_module_hooks()
        or has_global_step_hooks()
        or any(map(has_hooks, model.modules()))
        or has_hooks(optimizer)
    )
