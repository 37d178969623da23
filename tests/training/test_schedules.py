"""Schedules against PyTorch's schedulers and optimizers, step by step, on every path; invalid schedules."""

import math
import pydoc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from mnist_mlp.base.configuration import plain
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.record import Metrics, StepLoss
from mnist_mlp.build import trial
from mnist_mlp.build.kind_check import KindCheck
from mnist_mlp.data.batches import batches
from mnist_mlp.data.splits import Dataset, Splits
from mnist_mlp.network.init import initialize, variance_scaling_
from mnist_mlp.network.mlp import MLP
from mnist_mlp.training.loop import train
from mnist_mlp.training.schedules import Rates, Schedule, one_cycle
from mnist_mlp.training.seeds import derive_seeds
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.stack import Stack
from mnist_mlp.training.stack.steps import step_method
from mnist_mlp.training.step import make_step, path
from tests.helpers.composing import composed, refused
from tests.helpers.optimizers import optimizer
from tests.helpers.paths import DATA, ROOT
from tests.helpers.stacks import CPU, splits_of

STEPS, BATCH = 60, 4
OPTIMIZERS = "sgd", "nag", "adam", "radam"
SCHEDULES = sorted(file.stem for file in (ROOT / "conf/schedule").glob("*.yaml"))
CASES = [(name, warmup) for name in SCHEDULES for warmup in (0.0, 0.1)]


def schedule(name: str, warmup: float) -> Schedule:
    """Return the schedule of `schedule=NAME schedule.warmup=WARMUP`."""
    node = OmegaConf.to_container(OmegaConf.load(ROOT / f"conf/schedule/{name}.yaml"))
    assert isinstance(node, dict)
    shape: Any = pydoc.locate(node.pop("_target_"))
    arguments = {str(key): value for key, value in node.items() if key not in ("_partial_", "warmup")}
    return Schedule(lambda progress: float(shape(progress, **arguments)), warmup)


def pytorch_factors(name: str, steps: int) -> list[float]:
    """Return the factors of PyTorch's scheduler with the parameters of our option, for each step."""
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    made: dict[str, Callable[[], lr_scheduler.LRScheduler]] = {
        "constant": lambda: lr_scheduler.ConstantLR(sgd, factor=1.0),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(sgd, T_max=steps),
        "linear": lambda: lr_scheduler.LinearLR(sgd, start_factor=1.0, end_factor=0.0, total_iters=steps),
        "exponential": lambda: lr_scheduler.ExponentialLR(sgd, gamma=0.01 ** (1 / steps)),
        "step": lambda: lr_scheduler.MultiStepLR(sgd, milestones=[math.ceil(steps / 2), math.ceil(steps * 3 / 4)]),
        "inverse_sqrt": lambda: lr_scheduler.LambdaLR(sgd, lambda step: 1 / math.sqrt(1 + step / steps / 0.1)),
        # OneCycleLR ends both phases one step early, hence the additional step.
        "one_cycle": lambda: lr_scheduler.OneCycleLR(
            sgd, max_lr=1.0, total_steps=steps + 1, pct_start=(0.3 * steps + 1) / (steps + 1), cycle_momentum=False
        ),
    }
    scheduler, factors = made[name](), []
    for _ in range(steps):
        factors.append(float(sgd.param_groups[0]["lr"]))
        sgd.step()
        scheduler.step()
    return factors


def expected(name: str, warmup: float) -> list[float]:
    warm = round(warmup * STEPS)
    return [t / warm for t in range(1, warm + 1)] + pytorch_factors(name, STEPS - warm)


@pytest.mark.parametrize(("name", "warmup"), CASES)
def test_schedule_factors_equal_pytorch_schedulers(name: str, warmup: float) -> None:
    ours = [schedule(name, warmup).factor(t, STEPS) for t in range(1, STEPS + 1)]
    assert ours == pytest.approx(expected(name, warmup), rel=1e-9, abs=1e-12)


@given(name=st.sampled_from(SCHEDULES), warmup=st.floats(0, 1), steps=st.integers(1, 500), data=st.data())
def test_schedule_factor_is_in_0_to_1_and_rises_during_warmup(
    name: str, warmup: float, steps: int, data: st.DataObject
) -> None:
    made = schedule(name, warmup)
    warm = round(warmup * steps)
    step = data.draw(st.integers(1, steps))
    assert 0 <= made.factor(step, steps) <= 1
    if step <= warm:
        assert made.factor(step, steps) == step / warm
    elif step == warm + 1:
        first = 0.04 if name == "one_cycle" else 1.0
        assert made.factor(step, steps) == pytest.approx(first)


def test_one_cycle_at_ends_and_peak_has_documented_factors() -> None:
    assert one_cycle(0.0) == pytest.approx(0.04)
    assert one_cycle(0.3) == 1.0
    assert one_cycle(1.0) == pytest.approx(4e-6)
    assert one_cycle(0.0, rise=0.0) == 1.0
    assert one_cycle(1.0, rise=1.0) == 1.0


def network(dtype: torch.dtype = torch.float64) -> MLP:
    model = MLP(784, 10, hidden=[16], batch_norm=False, dropout=0.0).to(dtype)
    initialize(model, variance_scaling_, "default", torch.Generator().manual_seed(0))
    return model


@pytest.fixture(scope="module")
def data(real_mnist: Dataset) -> Splits:
    return splits_of(real_mnist, STEPS * BATCH)


def images_of(data: Splits) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for index in batches(len(data.train), BATCH, torch.Generator().manual_seed(derive_seeds(0).batches)):
        images, labels = data.train.take(index)
        yield images.double(), labels


@pytest.fixture(scope="module")
def pytorch_weights(data: Splits) -> dict[tuple[str, str, float], list[torch.Tensor]]:
    """Weights after sixty steps of PyTorch's optimizers with PyTorch's schedulers, in float64."""
    weights = {}
    for optim in OPTIMIZERS:
        for name, warmup in CASES:
            model = network()
            theirs = optimizer(optim, model.parameters())
            highest = theirs.param_groups[0]["lr"]
            for factor, (images, labels) in zip(expected(name, warmup), images_of(data), strict=True):
                theirs.param_groups[0]["lr"] = highest * factor
                theirs.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                theirs.step()
            weights[optim, name, warmup] = [p.detach() for p in model.parameters()]
    return weights


def test_fused_step_with_every_schedule_equals_pytorch(data: Splits, pytorch_weights: Any) -> None:
    for (optim, name, warmup), wanted in pytorch_weights.items():
        model = network()
        ours = optimizer(optim, model.parameters())
        assert path(model, ours) == "fused kernels"
        step, rates = make_step(model, ours, derive_seeds(0)), Rates(ours, schedule(name, warmup), STEPS)
        for number, (images, labels) in enumerate(images_of(data), start=1):
            rates.set(number)
            step(images, labels)
        for found, exact in zip(model.parameters(), wanted, strict=True):
            torch.testing.assert_close(found.detach(), exact, rtol=0, atol=1e-6)


def test_stack_with_every_schedule_equals_pytorch(data: Splits, pytorch_weights: Any) -> None:
    runs = []
    for optim, name, warmup in pytorch_weights:
        model = network()
        runs.append(Run(model, optimizer(optim, model.parameters()), derive_seeds(0), schedule(name, warmup)))
    rows = sorted(range(len(runs)), key=lambda number: step_method(runs[number]))
    Stack([runs[row] for row in rows], data, BATCH, CPU).epoch()
    for run, wanted in zip(runs, pytorch_weights.values(), strict=True):
        for found, exact in zip(run.model.parameters(), wanted, strict=True):
            torch.testing.assert_close(found.detach(), exact, rtol=0, atol=1e-6)


class Residual(nn.Module):
    """User-defined network, which is trained by autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network(torch.float32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.inner(x)
        return out


@pytest.mark.parametrize("make", [Residual, lambda: network(torch.float32)])
def test_train_records_have_learning_rate_of_their_step(make: Callable[[], nn.Module], data: Splits) -> None:
    model = make()
    records = list(
        train(
            model,
            optimizer("sgd", model.parameters(), lr=0.5),
            data,
            epochs=2,
            batch_size=BATCH,
            seeds=derive_seeds(0),
            log_interval=7,
            schedule=schedule("linear", 0.1),
        )
    )
    rates = [0.5 * schedule("linear", 0.1).factor(t, 2 * STEPS) for t in range(1, 2 * STEPS + 1)]
    for record in records:
        assert record.lr == pytest.approx(rates[record.step - 1] if record.step else 0.5, rel=1e-12)
    assert {record.step for record in records if isinstance(record, StepLoss)} == set(range(7, 121, 7))
    assert [record.step for record in records if isinstance(record, Metrics) and record.split == "test"] == [0, 60, 120]


def returns_none(progress: float) -> Any:
    return None


def not_a_number(progress: float) -> float:
    return math.nan if progress > 0.9 else 1.0


def negative(progress: float) -> float:
    return 0.5 - progress


def above(progress: float) -> float:
    return 1.5


@pytest.mark.usefixtures("real_mnist")
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["schedule.warmup=2"], ["schedule.warmup=2", "a number in [0, 1]"]),
        (["schedule=cosine", "schedule.final=-1"], ["schedule.final=-1", "a number in [0, 1]"]),
        (["schedule=step", "schedule.milestones=[0.5,2]"], ["schedule.milestones=2", "a number in [0, 1]"]),
        (["schedule=exponential", "schedule.final=0"], ["schedule.final=0", "a number in (0, 1]"]),
        (["schedule=inverse_sqrt", "schedule.scale=0"], ["schedule.scale=0", "greater than 0"]),
        (["schedule=one_cycle", "schedule.rise=2"], ["schedule.rise=2", "a number in [0, 1]"]),
        (["schedule=cosine", "+schedule.finl=0"], ["schedule.finl=0", "Did you mean schedule.final"]),
        (
            ["schedule._target_=tests.training.test_schedules.returns_none"],
            ["schedule._target_=returns_none", "not None at progress 0"],
        ),
        (
            ["schedule._target_=tests.training.test_schedules.not_a_number"],
            ["_target_=not_a_number", "in [0, 1], not nan at progress 0.9"],
        ),
        (
            ["schedule._target_=tests.training.test_schedules.negative"],
            ["schedule._target_=negative", "in [0, 1], not -5.8"],
        ),
        (
            ["schedule._target_=tests.training.test_schedules.above"],
            ["schedule._target_=above", "in [0, 1], not 1.5 at progress 0"],
        ),
    ],
)
def test_check_invalid_schedule_is_refused(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], words: list[str]
) -> None:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    refused(plain(composed("device=cpu", *overrides)), words)


class Remembering(torch.optim.SGD):
    """A user-defined optimizer that copies its learning rate when it is made."""

    def __init__(self, params: Any, lr: float, remembers: float = 1.0) -> None:
        super().__init__(params, lr=lr)
        self.lr, self.remembers = lr, remembers

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad, alpha=self.lr if self.remembers else group["lr"])


class Wrapping(torch.optim.Optimizer):
    """A user-defined optimizer around another one, with separate parameter groups."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.inner = torch.optim.Adam([p for group in self.param_groups for p in group["params"]], lr=lr)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.inner.step()


def rprop(params: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Rprop(params, lr=lr)


class Accumulating(torch.optim.SGD):
    """A user-defined optimizer that moves the parameters in every fourth step only."""

    steps = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        if self.steps % 4 == 0:
            super().step()


class Resting(torch.optim.SGD):
    """A user-defined optimizer that moves nothing at first."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pass


class Langevin(torch.optim.SGD):
    """A user-defined optimizer that draws random numbers, and ignores its rate."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(torch.randn_like(p), alpha=1e-3)


class Refusing(torch.optim.Rprop):
    """A user-defined optimizer that raises on large gradients."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if any(p.grad.abs().max() > 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("exploding gradients")
        super().step()


def with_optimizer(target: str, *overrides: str, lr: float = 0.01, **arguments: Any) -> dict[str, Any]:
    optim = {"_target_": target, "_partial_": True, "lr": lr, **arguments}
    return plain(composed("device=cpu", "data=digits", "model.hidden=[8]", *overrides)) | {"optim": optim}


COSINE = "schedule._target_=mnist_mlp.training.schedules.cosine"


@pytest.mark.parametrize(
    ("target", "overrides", "found"),
    [
        ("torch.optim.Rprop", ["schedule=cosine"], COSINE),
        ("torch.optim.Rprop", ["schedule=cosine", "schedule.warmup=0.1"], COSINE),
        ("torch.optim.Rprop", ["schedule.warmup=0.1"], "schedule.warmup=0.1"),
        (f"{__name__}.rprop", ["schedule=cosine", "model.batch_norm=true"], COSINE),
        (f"{__name__}.Remembering", ["schedule=cosine"], COSINE),
        (f"{__name__}.Wrapping", ["schedule=cosine"], COSINE),
    ],
)
def test_check_schedule_without_effect_is_refused(target: str, overrides: list[str], found: str) -> None:
    expected = "expected schedule=constant with schedule.warmup=0"
    refused(with_optimizer(target, *overrides), [f"{found}: {expected}", f"no effect on optim._target_={target}."])


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        *((f"torch.optim.{name}", {}) for name in ("ASGD", "Adafactor", "Adadelta", "AdamW", "SGD")),
        ("torch.optim.Adam", {"amsgrad": True, "capturable": False, "maximize": True}),
        ("mnist_mlp.training.updates.muon.Muon", {}),
        ("schedulefree.AdamWScheduleFree", {"warmup_steps": 200}),
        ("schedulefree.RAdamScheduleFree", {}),
        ("pytorch_optimizer.Prodigy", {}),
        ("pytorch_optimizer.Lion", {}),
        *((f"{__name__}.{kind.__name__}", {}) for kind in (Accumulating, Resting, Langevin, Refusing)),
        (f"{__name__}.Remembering", {"remembers": 0.0}),
    ],
)
@pytest.mark.parametrize("lr", [1.0, 1e-7])
def test_check_schedule_with_optimizer_that_may_follow_it_passes(
    target: str, arguments: dict[str, Any], lr: float
) -> None:
    trial.check(with_optimizer(target, "schedule=cosine", lr=lr, **arguments))


@pytest.mark.parametrize("overrides", [["schedule=linear", "schedule.final=1"], ["schedule=cosine", "epochs=0"], []])
def test_check_schedule_that_changes_no_rate_passes(overrides: list[str]) -> None:
    trial.check(with_optimizer("torch.optim.Rprop", *overrides))


def test_kind_check_numbers_without_schedule_effect_are_refused() -> None:
    constant = with_optimizer("torch.optim.Rprop")
    following = with_optimizer(f"{__name__}.Remembering", "schedule=cosine", remembers=0.0)
    for config, group, number in ((constant, "schedule", "warmup"), (following, "optim", "remembers")):
        kind = KindCheck(config)
        with pytest.raises(ConfigError, match="have no effect on"):
            kind.check(config | {group: config[group] | {number: 0.5}})
