"""Optimizers without an update function: in a stack as alone."""

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
from mnist_mlp.training.stack.steps import ALONE, BY_FUNCTION, kind_of
from mnist_mlp.training.step import path
from tests.helpers.stacks import CPU, splits_of

Make = Callable[[Iterable[nn.Parameter]], Optimizer]
OWN_STEP = "fused gradients, optimizer.step"
BATCH = 32


class Signs(Optimizer):
    """Somebody's new optimizer, in one class."""

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
    """It looks at all of a parameter, which it does not hide; and it puts other tensors in place of what it has."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = p.grad / (p.grad.norm() + 1e-3)
                p.data = p.data - group["lr"] * p.grad


class Moving(Signs):
    """It puts other tensors in place of what it has, and leaves no gradients."""

    elementwise = True

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p.data - group["lr"] * p.grad
        self.zero_grad()


class Denying(Moving):
    """It says that it is not what it seems."""

    elementwise = False


class Claiming(Normalized):
    """It says that it acts on each element alone, which is not so."""

    elementwise = True


class Shaped(Signs):
    """It treats vectors otherwise than matrices, which a claim does not rule out."""

    elementwise = True

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=-group["lr"] * (100 if p.ndim > 1 else 0))


class Eager(Adagrad):
    """It remembers something from the beginning."""

    elementwise = True


class Powered(Signs):
    """It keeps a setting to itself."""

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
    """It leaves everything to another optimizer."""

    elementwise = True

    def __init__(self, params: Any) -> None:
        own = list(params)
        super().__init__(own, {"lr": 0.1})
        self.inner = SGD(own, lr=0.1)

    def step(self) -> None:  # type: ignore[override]
        self.inner.step()


class Noisy(SGD):
    """It draws from PyTorch's default generator."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(torch.randn_like(p), alpha=1e-3)


class Decaying(Signs):
    """It changes its learning rate by itself."""

    elementwise = True

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        super().step()
        for group in self.param_groups:
            group["lr"] *= 0.9


class Strict(Signs):
    """It raises where something is not finite."""

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


# How each is trained alone, and in a stack.
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
    "one's own, elementwise": (Signs, OWN_STEP, ALONE),
    "one's own, moving": (lambda p: Moving(p, lr=0.1), OWN_STEP, ALONE),
    "one's own, claiming": (Claiming, OWN_STEP, ALONE),
    "one's own, looking at shapes": (Shaped, OWN_STEP, ALONE),
    "one's own, denying": (lambda p: Denying(p, lr=0.1), "autograd", ALONE),
    "one's own": (Normalized, "autograd", ALONE),
    "one's own, with a memory": (Eager, OWN_STEP, ALONE),
    "one's own, around another": (Wrapped, OWN_STEP, ALONE),
    "one's own, noisy": (lambda p: Noisy(p, lr=0.1), "autograd", ALONE),
}

# The gradient of a bias before BatchNorm is zero but for rounding, of which these make whole steps.
OF_SIGNS = ("rprop", "adafactor", "lion", "one's own, elementwise")


def run(make: Make, seed: int, schedule: Schedule | None = None, **options: Any) -> Run:
    model = MLP(784, 10, **{"hidden": [32, 16], "dropout": 0.3, **options}).double()
    initialize(model, variance_scaling_, "default", torch.Generator().manual_seed(seed))
    return Run(model, make(model.parameters()), Seeds(seed, 10 + seed, 20 + seed, modules=0), schedule)


def in_a_stack(runs: list[Run], data: Splits, epochs: int) -> list[list[Record | BaseException]]:
    records: list[list[Record | BaseException]] = [[] for _ in runs]
    for number, record in loop.train(runs, data, epochs=epochs, batch_size=BATCH, log_interval=5, device=CPU):
        records[number].append(record)
    return records


def alone(one: Run, data: Splits, epochs: int) -> list[Record]:
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
    """In double precision, as signs and square roots magnify rounding."""

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
    """The same records but for seconds."""
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
def test_any_optimizer_does_in_a_stack_what_it_does_alone(case: str, data: Splits) -> None:
    """Three seeds of two schedules under an optimizer, beside as many under another, for two epochs."""
    make, step, how = CASES[case]
    options: dict[str, Any] = {"batch_norm": case not in OF_SIGNS}
    if step == "autograd":  # whose masks are PyTorch's
        options["dropout"] = 0.0
    settings = [(seed, schedule) for seed in (0, 1, 2) for schedule in (None, Schedule(linear, warmup=0.2))]

    def runs() -> list[Run]:
        return [run(make, seed, schedule, **options) for seed, schedule in settings]

    first = runs()[0]
    assert path(first.model, first.optimizer) == step
    assert kind_of(first).how == how
    assert groups_of(first.model, first.optimizer)
    stacked = runs()
    found = in_a_stack(stacked, data, epochs=2)
    for records, one, in_stack in zip(found, runs(), stacked, strict=True):
        compare(records, alone(one, data, epochs=2))
        for p, q in zip(in_stack.model.parameters(), one.model.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-6)


def test_optimizers_of_all_kinds_share_a_stack(data: Splits) -> None:
    """Update functions and steps of their own, of one grouping of the parameters."""
    kinds = ["maximize", "one's own, elementwise", "one's own", "prodigy", "schedule_free"]
    makes = [*(CASES[case][0] for case in kinds), lambda p: Adam(p, lr=0.01), lambda p: SGD(p, lr=0.1)]

    def runs() -> list[Run]:
        return [run(make, seed, dropout=0.0, batch_norm=False) for seed in (0, 1) for make in makes]

    for records, one in zip(in_a_stack(runs(), data, epochs=2), runs(), strict=True):
        compare(records, alone(one, data, epochs=2))


def test_settings_that_an_optimizer_keeps_to_itself_count(data: Splits) -> None:
    def runs() -> list[Run]:
        return [run(lambda p, power=power: Powered(p, power), 0) for power in (0.5, 1.0, 0.5)]  # type: ignore[misc]

    for records, one in zip(in_a_stack(runs(), data, epochs=1), runs(), strict=True):
        compare(records, alone(one, data, epochs=1))


def test_without_epochs_a_stack_only_evaluates(data: Splits) -> None:
    def runs() -> list[Run]:
        return [run(make, 0, Schedule(linear, 0.1)) for make in (Signs, lambda p: Adam(p, lr=0.01))]

    for records, one in zip(in_a_stack(runs(), data, epochs=0), runs(), strict=True):
        compare(records, alone(one, data, epochs=0))


def test_a_rate_that_an_optimizer_changes_is_its_own(data: Splits) -> None:
    def runs() -> list[Run]:
        return [run(Decaying, seed, batch_norm=False) for seed in (0, 1)]

    for records, one in zip(in_a_stack(runs(), data, epochs=2), runs(), strict=True):
        compare(records, alone(one, data, epochs=2))


def test_a_run_that_has_ended_does_not_end_those_beside_it(data: Splits) -> None:
    def runs() -> list[Run]:
        made = [run(Strict, seed, batch_norm=False) for seed in (0, 1)]
        with torch.no_grad():
            for p in made[1].model.parameters():
                p.mul_(1e200)
        return made

    healthy, diverged = in_a_stack(runs(), data, epochs=1)
    compare(healthy, alone(runs()[0], data, epochs=1))
    assert isinstance(diverged[-1], Diverged)
    with pytest.raises(Diverged, match=str(diverged[-1])):  # and not what its optimizer has raised
        alone(runs()[1], data, epochs=1)


def test_a_claim_is_not_inherited() -> None:
    class Derived(Signs):
        pass

    for optimizer, step in ((Signs, OWN_STEP), (Derived, "autograd")):
        one = run(optimizer, 0)
        assert path(one.model, one.optimizer) == step


def test_an_optimizer_that_is_watched_takes_its_own_steps() -> None:
    one = run(Signs, 0)
    one.optimizer.register_step_post_hook(lambda *_: None)
    assert kind_of(one).how == ALONE
    assert path(one.model, one.optimizer) == "autograd"


def test_muon_is_pytorchs_and_adamw_but_for_bfloat16() -> None:
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
