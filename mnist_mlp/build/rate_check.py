"""Check whether an optimizer follows a learning rate that changes during a run.

Some optimizers read the learning rate only once, as `torch.optim.Rprop` does at its first step. A schedule would then
be recorded without having an effect.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_mlp.training.optimizers import set_mode
from mnist_mlp.training.schedules import Rates, Schedule, exponential
from mnist_mlp.training.updates.functions import spec_of

MAX_STEPS = 500  # an optimizer may apply a new rate late, or only every n-th step

Make = Callable[[list[nn.Parameter]], Optimizer]
Values = Sequence[tuple[Tensor, Tensor | None]]  # values and gradient of each parameter


def follows_rates(make: Make, values: Values) -> bool:
    """Return whether learning rates that are set after an optimizer's first step have an effect.

    Two optimizers with equal hyperparameters get equal gradients, but the learning rate of one of them falls. If both
    change the parameters after the first step, and always to the same values, the optimizer ignores later rates.
    Otherwise it counts as following them, even if it draws random numbers or cannot be tried this way.

    Args:
        make: Factory of the optimizer.
        values: Values and gradient of each parameter. A parameter without a gradient (None) is not trained.
    """
    try:
        return _follows_rates(make, values)
    except Exception:  # user-defined code may reject random gradients though it works in training
        return True


def _follows_rates(make: Make, values: Values) -> bool:
    usual, scheduled = ([nn.Parameter(value.clone(), gradient is not None) for value, gradient in values] for _ in "ab")
    optimizers = make(usual), make(scheduled)
    if all(spec_of(optimizers[0], group) for group in optimizers[0].param_groups):
        return True  # update functions read the rate at every step
    for optimizer in optimizers:
        set_mode(optimizer, training=True)
    rates = Rates(optimizers[1], Schedule(exponential), MAX_STEPS)
    random, moved = torch.Generator().manual_seed(0), False
    for step in range(1, MAX_STEPS + 1):
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
