"""Muon: orthogonalized updates of hidden matrices, AdamW for all other parameters."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from mnist_mlp.base.errors import InvalidArgument

COEFFICIENTS = 3.4445, -4.775, 2.0315  # Jordan et al.'s, which bring singular values near 1 in few iterations
SMALLEST = 1e-7  # lower bound of a norm in a denominator


class Muon(Optimizer):
    """Muon for hidden matrices, AdamW for all other parameters (biases, BatchNorm, the output layer).

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". Steps are as large as those of AdamW
    (Liu et al. 2025, "Muon is Scalable for LLM Training", eq. 4), so that both share learning rate and weight decay.
    Steps are those of `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, but computed in the dtype of the
    parameters. PyTorch uses bfloat16, which most CPUs emulate: a step would take a second.

    Args:
        params: Parameters of the model, in its order, or parameter groups with separate hyperparameters. The last
            matrix counts as the output layer.
        lr: Learning rate of both.
        weight_decay: Decoupled weight decay of both.
        momentum: Momentum of Muon, in [0, 1).
        nesterov: Use Nesterov momentum in Muon.
        ns_steps: Number of Newton-Schulz iterations that orthogonalize an update, at least 1.
        betas: Coefficients of AdamW.
        eps: Constant in the denominator of AdamW.

    Raises:
        InvalidArgument: There is no hidden matrix, or `momentum` or `ns_steps` is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not 0 <= momentum < 1:
            raise InvalidArgument("momentum", momentum, "a number in [0, 1)")
        if not isinstance(ns_steps, int) or ns_steps < 1:
            raise InvalidArgument("ns_steps", ns_steps, "a whole number, at least 1")
        given = list(params)
        groups = [group for group in given if isinstance(group, dict)] or [{"params": given}]
        matrices = [p for group in groups for p in group["params"] if p.ndim == 2]
        hidden = set(matrices[:-1])
        if not hidden:
            allowed = "a model with a hidden layer, since Muon updates hidden matrices only"
            raise InvalidArgument("_target_", "Muon", allowed)
        muons = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
        both = {"lr": lr, "weight_decay": weight_decay}
        self._hidden = [both | muons | group for group in _filter_groups(groups, hidden.__contains__)]
        self._adamw = AdamW(_filter_groups(groups, lambda p: p not in hidden), lr, betas, eps, weight_decay)
        # AdamW's groups are shared, so that a learning rate set here also applies to AdamW.
        super().__init__([*self._hidden, *self._adamw.param_groups], {})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take one step of Muon and of AdamW."""
        for group in self._hidden:
            for p in group["params"]:
                velocity = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                velocity.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(velocity, group["momentum"]) if group["nesterov"] else velocity
                p.mul_(1 - group["lr"] * group["weight_decay"])
                size = 0.2 * math.sqrt(max(p.shape))
                p.add_(orthogonal(update, group["ns_steps"]), alpha=-group["lr"] * size)
        self._adamw.step()


def orthogonal(matrix: Tensor, steps: int) -> Tensor:
    """Return approximately U V^T, where U S V^T is the singular value decomposition of the matrix.

    The singular values of the result are between 0.7 and 1.2.

    Args:
        matrix: Matrix of shape (m, n).
        steps: Number of Newton-Schulz iterations, with Jordan et al.'s coefficients.
    """
    a, b, c = COEFFICIENTS
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.t()
    x: Tensor = wide / wide.norm().clamp(min=SMALLEST)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide is matrix else x.t()


def _filter_groups(groups: Iterable[dict[str, Any]], wanted: Callable[[Tensor], bool]) -> list[dict[str, Any]]:
    """Return the groups with only the wanted parameters, without empty groups."""
    parts = [{**group, "params": [p for p in group["params"] if wanted(p)]} for group in groups]
    return [part for part in parts if part["params"]]
