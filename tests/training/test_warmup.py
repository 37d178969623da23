"""Warm-up: it compiles and loads everything before the clock starts, and changes no result."""

import logging
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnist_mlp.base.record import Metrics, Record, StepLoss
from mnist_mlp.data import gather
from mnist_mlp.data.splits import Dataset, Splits
from mnist_mlp.training import epoch_log, warmup
from mnist_mlp.training import loop as core
from mnist_mlp.training.fused import kernels
from mnist_mlp.training.stack import loop
from mnist_mlp.training.stack.stack import Stack
from mnist_mlp.training.updates import functions
from mnist_mlp.training.updates.fused import kernel_of
from tests.helpers.stacks import CPU, network, run, splits_of, state
from tests.helpers.training import adam, timeless
from tests.helpers.training import run as trained

KERNELS = [
    *(kernel for module in (gather, kernels) for kernel in vars(module).values() if hasattr(kernel, "signatures")),
    kernel_of(functions.sgd, functions.SGDCoefficients, 0),
    kernel_of(functions.momentum, functions.MomentumCoefficients, 1),
    kernel_of(functions.adagrad, functions.AdagradCoefficients, 1),
    kernel_of(functions.rmsprop, functions.RMSpropCoefficients, 1),
    kernel_of(functions.adadelta, functions.AdadeltaCoefficients, 2),
    kernel_of(functions.adam, functions.AdamCoefficients, 2),
]


def record_at_clock_reads(monkeypatch: pytest.MonkeyPatch, module: Any, look: Callable[[], Any]) -> list[Any]:
    """Return a list that receives the value of `look()` whenever a module reads the clock."""
    seen: list[Any] = []

    def clock() -> float:
        seen.append(look())
        return time.perf_counter()

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=clock))
    return seen


def test_warm_up_compiles_every_kernel_before_the_clock_starts(
    few_splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled() -> int:
        return sum(len(kernel.signatures) for kernel in KERNELS)

    # Numba compiles a kernel per argument type; only this test has a whole number as BatchNorm's momentum.
    model = network("he", 0)
    for module in model:
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 1
    before = compiled()
    seen = record_at_clock_reads(monkeypatch, epoch_log, compiled)
    trained(few_splits, epochs=1, model=model)
    assert before < compiled()
    assert set(seen) == {compiled()}


class Lazy(nn.Module):
    """User-defined network that initializes itself once per process and batch size."""

    ready: set[int]

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(784, 10), nn.Dropout(0.3)

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            Lazy.ready.add(len(images))
        logits: Tensor = self.linear(self.dropout(images)) + 0.1 * torch.rand(10)
        return logits


def test_warm_up_of_user_defined_network_uses_every_batch_size(
    few_splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    Lazy.ready = set()
    seen = record_at_clock_reads(monkeypatch, epoch_log, lambda: sorted(Lazy.ready))
    trained(few_splits, epochs=1, model=Lazy())
    assert seen
    assert all(sizes == [16, 32] for sizes in seen)


class Counting(torch.optim.SGD):
    """User-defined optimizer with a private attribute."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.steps = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.steps
        super().step()


@pytest.mark.parametrize(
    ("model", "make"),
    [
        (lambda: network("he", 0), adam),
        (lambda: network("he", 0), torch.optim.NAdam),
        (Lazy, lambda p: Counting(p, lr=0.1)),
    ],
)
def test_warm_up_changes_no_result(
    few_splits: Splits,
    monkeypatch: pytest.MonkeyPatch,
    model: Callable[[], nn.Module],
    make: Any,
) -> None:
    Lazy.ready = set()

    def records() -> tuple[list[Record], dict[str, Tensor], list[Any]]:
        torch.manual_seed(0)
        made = model()
        optimizer: Any = make(made.parameters())
        found = trained(few_splits, lambda _: optimizer, model=made)
        return timeless(found), state(made), [optimizer.state_dict()["state"], vars(optimizer).get("steps")]

    warmed_up = records()
    monkeypatch.setattr(core, "warm_up", lambda *_: None)
    plain = records()
    assert warmed_up[0] == plain[0]
    torch.testing.assert_close(warmed_up[1:], plain[1:], rtol=0, atol=0)
    assert plain[2][1] in (None, 26)


def test_warm_up_of_model_that_cannot_be_copied_is_logged(few_splits: Splits, caplog: pytest.LogCaptureFixture) -> None:
    class Locked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(784, 10)
            self.lock = threading.Lock()

    with caplog.at_level(logging.INFO, "mnist_mlp.training.warmup"):
        assert len(trained(few_splits, epochs=1, model=Locked())) > 3
    (message,) = [r.getMessage() for r in caplog.records if r.name == "mnist_mlp.training.warmup"]
    assert message.startswith("the column seconds includes compilation, since the warm-up failed: ")
    assert "TypeError: " in message


class Uncopied(nn.Linear):
    """User-defined network whose copy is the network itself."""

    def __init__(self) -> None:
        super().__init__(784, 10)

    def __deepcopy__(self, copies: object) -> "Uncopied":
        return self


class Wrapped(nn.Sequential):
    """User-defined network whose copy calls the original."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm1d(784), nn.Linear(784, 10))
        inner = super().forward
        self.forward = lambda images: inner(images)  # type: ignore[method-assign, no-untyped-call]


@pytest.mark.parametrize("user_network", [Uncopied, Wrapped])
def test_warm_up_of_copy_that_shares_state_changes_nothing(few_splits: Splits, user_network: Any) -> None:
    torch.manual_seed(0)
    model = user_network()
    before = {name: tensor.clone() for name, tensor in state(model).items()}
    warmup.warm_up(model, torch.optim.SGD(model.parameters(), lr=0.1), few_splits.train, [32])
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)
    assert len(trained(few_splits, epochs=1, model=model)) > 3


def test_warm_up_calls_no_hooks(few_splits: Splits) -> None:
    model, calls = nn.Linear(784, 10), []
    model.register_forward_hook(lambda module, *_: calls.append(module.training))
    trained(few_splits, epochs=1, model=model)
    assert calls.count(True) == 13


def test_warm_up_of_stack_precedes_clock_and_changes_no_result(
    real_mnist: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = splits_of(real_mnist, 200)  # six batches of 32 and one of 8
    jobs = [("he", seed, optim) for seed in (0, 1) for optim in ("adam", "adagrad", "sgd")]
    taken: list[int] = []
    step = Stack.step

    def watched(stack: Stack, chunk: Any) -> None:
        taken.append(chunk.batch)
        step(stack, chunk)

    def records() -> tuple[list[tuple[int, Record]], list[dict[str, Tensor]]]:
        runs = [run(*job) for job in jobs]
        found = list(loop.train(runs, data, epochs=1, batch_size=32, log_interval=3, device=CPU))
        rows = [(number, timeless([record])[0]) for number, record in found if isinstance(record, Metrics | StepLoss)]
        assert len(rows) == len(found)
        return rows, [state(one.model) for one in runs]

    monkeypatch.setattr(Stack, "step", watched)
    seen = record_at_clock_reads(monkeypatch, loop, lambda: list(taken))
    warmed_up = records()
    assert seen[0] == [32, 8]
    monkeypatch.setattr(Stack, "_warm_up", lambda stack: None)
    plain = records()
    assert warmed_up[0] == plain[0]
    torch.testing.assert_close(warmed_up[1], plain[1], rtol=0, atol=0)
