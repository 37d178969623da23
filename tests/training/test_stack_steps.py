"""Optimizers without an update function: a stack of runs against the same runs trained separately."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from pytorch_optimizer import Lion, Prodigy, ScheduleFreeAdamW
from torch import nn
from torch.optim import ASGD, SGD, Adafactor, Adagrad, Adam, Optimizer, Rprop

from mnist_mlp.base.record import Diverged, Metrics, Record, StepLoss
from mnist_mlp.data.splits import Dataset, Split, Splits
from mnist_mlp.network.init import initialize, variance_scaling_
from mnist_mlp.network.mlp import MLP
from mnist_mlp.training import Muon
from mnist_mlp.training.loop import train
from mnist_mlp.training.schedules import Schedule, linear
from mnist_mlp.training.seeds import Seeds
from mnist_mlp.training.stack import loop
from mnist_mlp.training.stack.parameters import groups_of
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.steps import ALONE, BY_FUNCTION, step_method
from mnist_mlp.training.step import path
from tests.helpers.stacks import CPU, splits_of

Make = Callable[[Iterable[nn.Parameter]], Optimizer]
OWN_STEP = "fused gradients, optimizer.step"
BATCH = 32


class Signs(Optimizer):
    """User-defined optimizer in one class."""

    elementwise = True

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(group["momentum"]).add_(p.grad)
                p.add_(velocity.sign(), alpha=-group["lr"])


class Normalized(Signs):
    """Optimizer that uses the norm of a whole parameter, and rebinds gradients and data to new tensors."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = p.grad / (p.grad.norm() + 1e-3)
                p.data = p.data - group["lr"] * p.grad


class Moving(Signs):
    """Elementwise optimizer that rebinds data to new tensors, and clears the gradients."""

    elementwise = True

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p.data - group["lr"] * p.grad
        self.zero_grad()


class Denying(Moving):
    """Elementwise optimizer that is declared not to be elementwise."""

    elementwise = False


class Claiming(Normalized):
    """Optimizer that is declared elementwise, wrongly."""

    elementwise = True


class Shaped(Signs):
    """Optimizer that is declared elementwise, and treats vectors differently from matrices."""

    elementwise = True

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=-group["lr"] * (100 if p.ndim > 1 else 0))


class Eager(Adagrad):
    """Optimizer that has state before its first step."""

    elementwise = True


class Powered(Signs):
    """Optimizer with a hyperparameter outside its parameter groups."""

    elementwise = True

    def __init__(self, params: Any, power: float) -> None:
        super().__init__(params, lr=0.01)
        self.power = power

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad.sign() * p.grad.abs() ** self.power, alpha=-group["lr"])


class Wrapped(Optimizer):
    """Optimizer that delegates its steps to another optimizer."""

    elementwise = True

    def __init__(self, params: Any) -> None:
        own = list(params)
        super().__init__(own, {"lr": 0.1})
        self.inner = SGD(own, lr=0.1)

    def step(self) -> None:  # type: ignore[override]
        self.inner.step()


class Noisy(SGD):
    """Optimizer that draws from PyTorch's default generator."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(torch.randn_like(p), alpha=1e-3)


class Decaying(Signs):
    """Optimizer that changes its learning rate in each step."""

    elementwise = True

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        super().step()
        for group in self.param_groups:
            group["lr"] *= 0.9


class Strict(Signs):
    """Optimizer that raises if a gradient is not finite."""

    elementwise = True

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            if not all(p.grad.isfinite().all() for p in group["params"]):
                raise ValueError("not finite")
        super().step()


def of_groups(parameters: Iterable[nn.Parameter], make: Callable[[Any], Optimizer]) -> Optimizer:
    own = list(parameters)
    return make(
        [{"params": [p for p in own if p.ndim > 1]}, {"params": [p for p in own if p.ndim < 2], "weight_decay": 0.0}]
    )


# Optimizer, path of a separate run, and kind of step in a stack.
CASES: dict[str, tuple[Make, str, str]] = {
    "maximize": (lambda p: SGD(p, lr=1e-3, maximize=True, momentum=0.9), OWN_STEP, ALONE),
    "asgd": (lambda p: ASGD(p, lr=0.05), OWN_STEP, ALONE),
    "rprop": (lambda p: Rprop(p, lr=1e-4), OWN_STEP, ALONE),
    "adafactor": (lambda p: Adafactor(p, lr=0.01), OWN_STEP, ALONE),
    "muon": (lambda p: Muon(p, lr=1e-3), OWN_STEP, ALONE),
    "muon without decay of biases": (lambda p: of_groups(p, Muon), OWN_STEP, ALONE),
    "lion": (lambda p: Lion(p, lr=1e-4), OWN_STEP, ALONE),
    "prodigy": (lambda p: Prodigy(p), OWN_STEP, ALONE),
    "schedule_free": (lambda p: ScheduleFreeAdamW(p, lr=0.01), OWN_STEP, ALONE),
    "adam without decay of biases": (
        lambda p: of_groups(p, lambda g: Adam(g, weight_decay=0.1)),
        "fused kernels",
        BY_FUNCTION,
    ),
    "user-defined, elementwise": (Signs, OWN_STEP, ALONE),
    "user-defined, moving": (lambda p: Moving(p, lr=0.1), OWN_STEP, ALONE),
    "user-defined, claiming": (Claiming, OWN_STEP, ALONE),
    "user-defined, depending on shapes": (Shaped, OWN_STEP, ALONE),
    "user-defined, denying": (lambda p: Denying(p, lr=0.1), "autograd", ALONE),
    "user-defined": (Normalized, "autograd", ALONE),
    "user-defined, with initial state": (Eager, OWN_STEP, ALONE),
    "user-defined, around another": (Wrapped, OWN_STEP, ALONE),
    "user-defined, noisy": (lambda p: Noisy(p, lr=0.1), "autograd", ALONE),
}

# The gradient of a bias before BatchNorm is zero up to rounding, which these optimizers turn into full steps.
OF_SIGNS = ("rprop", "adafactor", "lion", "user-defined, elementwise")


def run(make: Make, seed: int, schedule: Schedule | None = None, **options: Any) -> Run:
    model = MLP(784, 10, **{"hidden": [32, 16], "dropout": 0.3, **options}).double()
    initialize(model, variance_scaling_, "default", torch.Generator().manual_seed(seed))
    return Run(model, make(model.parameters()), Seeds(seed, 10 + seed, 20 + seed, modules=0), schedule)


def train_stack(runs: list[Run], data: Splits, epochs: int) -> list[list[Record | BaseException]]:
    records: list[list[Record | BaseException]] = [[] for _ in runs]
    for number, record in loop.train(runs, data, epochs=epochs, batch_size=BATCH, log_interval=5, device=CPU):
        records[number].append(record)
    return records


def train_alone(one: Run, data: Splits, epochs: int) -> list[Record]:
    return list(
        train(
            one.model,
            one.optimizer,
            data,
            epochs=epochs,
            batch_size=BATCH,
            seeds=one.seeds,
            log_interval=5,
            schedule=one.schedule,
        )
    )


class Doubles(Split):
    """Split with images in double precision, since signs and square roots magnify rounding errors."""

    def take(self, index: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = super().take(index)
        return images.double(), labels


@pytest.fixture(scope="module")
def data(real_mnist: Dataset) -> Splits:
    splits = splits_of(real_mnist, 200)  # seven steps an epoch

    def double(split: Split) -> Split:
        return Doubles(**{field.name: getattr(split, field.name) for field in fields(split)})

    assert splits.val is not None
    return replace(splits, train=double(splits.train), val=double(splits.val), test=double(splits.test))


def compare(found: Sequence[Record | BaseException], expected: Sequence[Record]) -> None:
    """Assert equal records, except for seconds and rounding of losses."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert isinstance(ours, Metrics | StepLoss)
        assert type(ours) is type(theirs)
        for (key, value), wanted in zip(ours._asdict().items(), theirs, strict=True):
            if key == "loss":
                assert value == pytest.approx(wanted, rel=1e-5)
            elif key != "seconds":
                assert value == wanted


@pytest.mark.parametrize("case", CASES)
def test_stack_with_any_optimizer_equals_separate_runs(case: str, data: Splits) -> None:
    """Three seeds with and without a schedule, for two epochs."""
    make, step, how = CASES[case]
    options: dict[str, Any] = {"batch_norm": case not in OF_SIGNS}
    if step == "autograd":  # which draws other masks
        options["dropout"] = 0.0
    settings = [(seed, schedule) for seed in (0, 1, 2) for schedule in (None, Schedule(linear, warmup=0.2))]

    def runs() -> list[Run]:
        return [run(make, seed, schedule, **options) for seed, schedule in settings]

    first = runs()[0]
    assert path(first.model, first.optimizer) == step
    assert step_method(first).how == how
    assert groups_of(first.model, first.optimizer)
    stacked = runs()
    found = train_stack(stacked, data, epochs=2)
    for records, one, in_stack in zip(found, runs(), stacked, strict=True):
        compare(records, train_alone(one, data, epochs=2))
        for p, q in zip(in_stack.model.parameters(), one.model.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-6)


def test_stack_of_mixed_optimizers_equals_separate_runs(data: Splits) -> None:
    """Optimizers with update functions and optimizers that take their own steps, with equal parameter groups."""
    kinds = ["maximize", "user-defined, elementwise", "user-defined", "prodigy", "schedule_free"]
    makes = [*(CASES[case][0] for case in kinds), lambda p: Adam(p, lr=0.01), lambda p: SGD(p, lr=0.1)]

    def runs() -> list[Run]:
        return [run(make, seed, dropout=0.0, batch_norm=False) for seed in (0, 1) for make in makes]

    for records, one in zip(train_stack(runs(), data, epochs=2), runs(), strict=True):
        compare(records, train_alone(one, data, epochs=2))


def test_stack_optimizers_with_private_attributes_equal_separate_runs(data: Splits) -> None:
    def runs() -> list[Run]:
        return [run(lambda p, power=power: Powered(p, power), 0) for power in (0.5, 1.0, 0.5)]  # type: ignore[misc]

    for records, one in zip(train_stack(runs(), data, epochs=1), runs(), strict=True):
        compare(records, train_alone(one, data, epochs=1))


def test_stack_without_epochs_only_evaluates(data: Splits) -> None:
    def runs() -> list[Run]:
        return [run(make, 0, Schedule(linear, 0.1)) for make in (Signs, lambda p: Adam(p, lr=0.01))]

    for records, one in zip(train_stack(runs(), data, epochs=0), runs(), strict=True):
        compare(records, train_alone(one, data, epochs=0))


def test_stack_optimizer_that_changes_its_rate_equals_separate_runs(data: Splits) -> None:
    def runs() -> list[Run]:
        return [run(Decaying, seed, batch_norm=False) for seed in (0, 1)]

    for records, one in zip(train_stack(runs(), data, epochs=2), runs(), strict=True):
        compare(records, train_alone(one, data, epochs=2))


def test_stack_diverged_run_whose_optimizer_raises_ends_alone(data: Splits) -> None:
    def runs() -> list[Run]:
        made = [run(Strict, seed, batch_norm=False) for seed in (0, 1)]
        with torch.no_grad():
            for p in made[1].model.parameters():
                p.mul_(1e200)
        return made

    healthy, diverged = train_stack(runs(), data, epochs=1)
    compare(healthy, train_alone(runs()[0], data, epochs=1))
    assert isinstance(diverged[-1], Diverged)
    with pytest.raises(Diverged, match=str(diverged[-1])):  # and not the error of its optimizer
        train_alone(runs()[1], data, epochs=1)


def test_path_elementwise_claim_is_not_inherited() -> None:
    class Derived(Signs):
        pass

    for optimizer, step in ((Signs, OWN_STEP), (Derived, "autograd")):
        one = run(optimizer, 0)
        assert path(one.model, one.optimizer) == step


def test_path_of_optimizer_with_hooks_is_autograd() -> None:
    one = run(Signs, 0)
    one.optimizer.register_step_post_hook(lambda *_: None)
    assert step_method(one).how == ALONE
    assert path(one.model, one.optimizer) == "autograd"


def test_muon_equals_pytorch_muon_and_adamw_within_bfloat16() -> None:
    ours, theirs = (list(run(Muon, 0).model.float().parameters()) for _ in range(2))
    hidden = [p for p in theirs if p.ndim == 2][:-1]
    muon = Muon(ours, lr=0.01)
    references = [
        torch.optim.Muon(hidden, lr=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([p for p in theirs if all(p is not q for q in hidden)], lr=0.01, weight_decay=0.1),
    ]
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape, generator=random)
            q.grad = p.grad.clone()
        for made in (muon, *references):
            made.step()
    for p, q in zip(ours, theirs, strict=True):
        is_hidden = any(q is other for other in hidden)
        torch.testing.assert_close(p, q, rtol=0, atol=2e-3 if is_hidden else 1e-6)
    assert len(hidden) == 2
