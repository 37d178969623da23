"""Trial of whether an optimizer follows the learning rates that a schedule sets during a run.

Some read their rate once, as `torch.optim.Rprop` does at its first step. A schedule would then be recorded, and have
no effect.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_mlp.training.optimizers import set_mode
from mnist_mlp.training.schedules import Rates, Schedule, exponential
from mnist_mlp.training.updates.functions import spec_of

MOST_STEPS = 500  # by which a changed rate must show: it may count from a later step, or in every so many steps only

Make = Callable[[list[nn.Parameter]], Optimizer]
Values = Sequence[tuple[Tensor, Tensor | None]]  # of each parameter, and a gradient, which may be missing


def follows_rates(make: Make, values: Values) -> bool:
    """Return whether learning rates that are set after an optimizer's first step have an effect.

    Two equal optimizers take equal steps, except that the rate of one of them falls. Only if both move the parameters
    after the first step, and always to the same values, does the optimizer ignore later rates. An optimizer that draws
    random numbers, or that cannot be tried in this way, counts as one that follows them.

    Args:
        make: Factory of the optimizer.
        values: Values of each parameter, and a gradient, which may be missing.
    """
    try:
        return _follows_rates(make, values)
    except Exception:  # of user-defined code, which may refuse these gradients though it works in training
        return True


def _follows_rates(make: Make, values: Values) -> bool:
    usual, scheduled = ([nn.Parameter(value.clone(), gradient is not None) for value, gradient in values] for _ in "ab")
    optimizers = make(usual), make(scheduled)
    if all(spec_of(optimizers[0], group) for group in optimizers[0].param_groups):
        return True  # update functions read the rate at every step
    for optimizer in optimizers:
        set_mode(optimizer, training=True)
    rates = Rates(optimizers[1], Schedule(exponential), MOST_STEPS)
    random, moved = torch.Generator().manual_seed(0), False
    for step in range(1, MOST_STEPS + 1):
        for p, q in zip(usual, scheduled, strict=True):
            if p.requires_grad:
                p.grad = torch.randn(p.shape, generator=random).to(p.dtype)
                q.grad = p.grad.clone()
        before = [p.detach().clone() for p in usual]
        rates.set(step)
        for optimizer in optimizers:
            optimizer.step()
        if not all(map(torch.equal, usual, scheduled)):
            return True
        moved |= step > 1 and not all(map(torch.equal, before, usual))
    return not moved
