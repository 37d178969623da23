"""A stack of runs against the same runs trained separately: batches, masks, weights, statistics, divergence."""

import copy
import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mnist_mlp.base.record import Diverged, Metrics, Record, StepLoss
from mnist_mlp.data.batches import batches, order
from mnist_mlp.data.splits import Dataset, Splits
from mnist_mlp.network.mlp import ACTIVATIONS
from mnist_mlp.training.fused.backprop import Backprop, DropoutLayer
from mnist_mlp.training.loop import train
from mnist_mlp.training.schedules import Rates
from mnist_mlp.training.seeds import Seeds
from mnist_mlp.training.stack import loop, torch_compile
from mnist_mlp.training.stack.parameters import ALIGNMENT, Parameters
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.stack import Stack
from mnist_mlp.training.stack.steps import make_updates, step_method
from mnist_mlp.training.step import make_step
from tests.helpers.optimizers import HYPERPARAMETERS, OPTIMIZERS, TOLERANCE, optimizer
from tests.helpers.stacks import CPU, INITS, State, network, run, splits_of, state

CELLS = [(init, seed) for init in INITS for seed in (0, 1, 2)]
MARKS = (1, 10, 100)  # steps
BATCH = 32
TOP: dict[str, Any] = {"batch_size": BATCH, "log_interval": 7}
Records = dict[int, list[Record | BaseException]]


def train_stack(runs: Sequence[Run], data: Splits, epochs: int = 1) -> Records:
    records: Records = {number: [] for number in range(len(runs))}
    for number, record in loop.train(runs, data, epochs=epochs, device=CPU, **TOP):
        records[number].append(record)
    return records


def train_alone(one: Run, data: Splits, epochs: int = 1) -> list[Record | BaseException]:
    records: list[Record | BaseException] = []
    try:
        for record in train(one.model, one.optimizer, data, epochs=epochs, seeds=one.seeds, **TOP):
            records.append(record)
    except Diverged as error:
        records.append(error)
    return records


def steps_of_stack(made: Stack, marks: Sequence[int]) -> dict[int, list[State]]:
    """Return the states of the networks after these numbers of steps."""
    orders = torch.stack([order(len(made.data.train), generator) for generator in made.orders])
    chunk = made.chunks[BATCH]
    made.prepare(chunk, orders[:, : BATCH * marks[-1]].view(len(orders), -1, BATCH).transpose(0, 1))
    states = {}
    for step in range(1, marks[-1] + 1):
        chunk.step()
        if step in marks:
            states[step] = [state(one.model) for one in made.runs]
    return states


def steps_of_core(one: Run, data: Splits, marks: Sequence[int]) -> dict[int, State]:
    """Return the states of one run after these numbers of steps, trained separately."""
    dtype = next(one.model.parameters()).dtype
    step = make_step(one.model.train(), one.optimizer, one.seeds)
    states = {}
    order_of = torch.Generator().manual_seed(one.seeds.batches)
    for number, index in enumerate(batches(len(data.train), BATCH, order_of), 1):
        images, labels = data.train.take(index)
        step(images.to(dtype), labels)
        if number in marks:
            states[number] = state(one.model)
        if number == marks[-1]:
            break
    return states


def distance(found: State, exact: State) -> float:
    """Return the largest relative error of a weight matrix, an effective vector or a running variance.

    Biases before BatchNorm and running means are left out: the gradient of such a bias is zero up to rounding, and
    optimizers that divide by the gradient's size turn rounding into steps. The steps change no output, since BatchNorm
    subtracts the mean of its input.
    """
    idle = ("linear1.bias", "linear2.bias", "norm1.running_mean", "norm2.running_mean", "num_batches_tracked")
    names = [name for name in exact if not name.endswith(idle)]
    return max(float((found[name].double() - exact[name]).norm() / exact[name].norm()) for name in names)


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_stack_weights_equal_separate_runs(optim: str, real_mnist: Dataset) -> None:
    """Compare all weights and BatchNorm statistics after 1, 10 and 100 steps of six runs.

    In double precision the stack agrees with separate runs to 1e-10. In single precision no fixed bound holds:
    optimizers that divide by the gradient's size, mainly Adam and RMSprop, magnify rounding errors of gradients near
    zero, in some runs without limit. The median error of the stack may therefore be a few times the median error of
    separate runs in single precision; 1e-6 is the error of rounding once.
    """
    data = splits_of(real_mnist, BATCH * MARKS[-1])
    double = steps_of_stack(
        Stack([run(init, seed, optim, torch.float64) for init, seed in CELLS], data, BATCH, CPU), MARKS
    )
    single = steps_of_stack(Stack([run(init, seed, optim) for init, seed in CELLS], data, BATCH, CPU), MARKS)
    exact = [steps_of_core(run(init, seed, optim, torch.float64), data, MARKS) for init, seed in CELLS]
    core = [steps_of_core(run(init, seed, optim), data, MARKS) for init, seed in CELLS]
    for mark in MARKS:
        assert max(distance(found, wanted[mark]) for found, wanted in zip(double[mark], exact, strict=True)) < 1e-10
        of_stack = median(distance(found, wanted[mark]) for found, wanted in zip(single[mark], exact, strict=True))
        of_core = median(distance(found[mark], wanted[mark]) for found, wanted in zip(core, exact, strict=True))
        assert of_stack <= 4 * of_core + 1e-6
        assert all(found["norm1.num_batches_tracked"] == mark for found in single[mark])


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("batch_norm", [True, False])
def test_stack_with_every_activation_equals_separate_runs(
    activation: str, batch_norm: bool, real_mnist: Dataset
) -> None:
    data = splits_of(real_mnist, BATCH * 10)

    def runs() -> list[Run]:
        options = {"activation": activation, "batch_norm": batch_norm, "dropout": 0.3}
        return [run("he", seed, "momentum", torch.float64, **options) for seed in (0, 1)]

    found = steps_of_stack(Stack(runs(), data, BATCH, CPU), (10,))[10]
    for ours, one in zip(found, runs(), strict=True):
        torch.testing.assert_close(ours, steps_of_core(one, data, (10,))[10], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"hidden": []}, {"dropout": 0.0, "batch_norm": False}])
def test_stack_with_input_dropout_equals_separate_runs(options: dict[str, Any], real_mnist: Dataset) -> None:
    data = splits_of(real_mnist, BATCH * 10)

    def runs() -> list[Run]:
        return [run("he", seed, "momentum", torch.float64, input_dropout=0.2, **options) for seed in (0, 1, 0)]

    made = Stack(runs(), data, BATCH, CPU)
    found = steps_of_stack(made, (10,))[10]
    for ours, one in zip(found, runs(), strict=True):
        torch.testing.assert_close(ours, steps_of_core(one, data, (10,))[10], rtol=1e-9, atol=1e-10)
    losses, accuracies = made.evaluate(data.test)
    images, labels = data.test.take(slice(200))
    for number, one in enumerate(made.runs):
        with torch.no_grad():
            logits = one.model.eval()(images.double())
        assert losses[number] == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-9)
        assert accuracies[number] == pytest.approx((logits.argmax(dim=1) == labels).double().mean().item())


def test_stack_records_of_all_optimizers_equal_separate_runs(real_mnist: Dataset) -> None:
    data = splits_of(real_mnist, 200)  # six batches of 32 and one of 8
    jobs = [(optim, seed) for seed in (0, 1) for optim in OPTIMIZERS]
    records = train_stack([run("he", seed, optim) for optim, seed in jobs], data, epochs=2)
    for number, (optim, seed) in enumerate(jobs):
        close = optim not in (
            "adagrad",
            "adam",
            "adamax",
            "adamw",
            "nadam",
            "rmsprop",
        )  # these magnify rounding errors from the first step
        expected = train_alone(run("he", seed, optim), data, epochs=2)
        assert [type(record) for record in records[number]] == [type(record) for record in expected]
        for found, wanted in zip(records[number], expected, strict=True):
            assert isinstance(found, Metrics | StepLoss)
            assert isinstance(wanted, Metrics | StepLoss)
            ours, theirs = found._asdict(), wanted._asdict()
            assert ours.pop("loss") == pytest.approx(theirs.pop("loss"), rel=1e-4 if close else 0.1)
            assert ours.pop("accuracy", 0) == pytest.approx(theirs.pop("accuracy", 0), abs=0.011 if close else 0.1)
            assert (ours.pop("seconds", 0) > 0) == (theirs.pop("seconds", 0) > 0)
            assert ours == theirs


def test_stack_batches_and_masks_equal_separate_runs(real_mnist: Dataset) -> None:
    data = splits_of(real_mnist, 200)
    for p, of_inputs, drawn in ((0.5, 0.0, np.uint8), (0.3, 0.0, np.uint16), (0.5, 0.25, np.uint8)):
        options: dict[str, Any] = {"dropout": p, "input_dropout": of_inputs}
        runs = [run("he", seed, "sgd", **options) for seed in (0, 1, 0)]
        made = Stack(runs, data, 32, CPU)
        assert len(made.streams) == 2  # runs with equal seeds share a stream
        images = torch.stack([torch.randperm(200, generator=generator) for generator in made.orders])
        chunk = made.chunks[32]
        made.prepare(chunk, images[:, : 32 * chunk.capacity].view(2, -1, 32).transpose(0, 1))
        for stream, one in enumerate(runs[:2]):
            gradients = Backprop(network("he", 0, **options), one.seeds.dropout)
            dropouts = [layer for layer in gradients.layers if isinstance(layer, DropoutLayer)]
            assert dropouts[0].sampler.kind is drawn
            assert len(dropouts) == (3 if of_inputs else 2)
            expected = batches(200, 32, torch.Generator().manual_seed(one.seeds.batches))
            for step in range(chunk.capacity):
                assert torch.equal(chunk.images[step, stream], expected[step])
                gradients(*data.train.take(expected[step]))
                for layer, kept in zip(dropouts, chunk.keep_masks, strict=True):
                    assert np.array_equal(layer.factor > 0, kept[step, stream].numpy())


@given(data=st.data(), name=st.sampled_from(sorted(HYPERPARAMETERS)), eps=st.floats(1e-8, 1e-2))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_stack_updates_with_any_hyperparameters_equal_pytorch(data: st.DataObject, name: str, eps: float) -> None:
    def made(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return optimizer(name, parameters, **next(chosen))

    options = []
    for _ in range(3):
        options.append({key: data.draw(values, key) for key, values in HYPERPARAMETERS[name].items()})
        options[-1]["lr"] = data.draw(st.floats(1e-4, 1), "lr")
        if name not in ("sgd", "momentum", "nag"):
            options[-1]["eps"] = eps
    chosen = iter(options * 2)
    random = torch.Generator().manual_seed(0)
    ours = [nn.Linear(5, 3, dtype=torch.float64) for _ in range(3)]
    theirs = copy.deepcopy(ours)
    runs = [Run(nn.Sequential(model), made(model.parameters()), Seeds(0, 0, 0, 0)) for model in ours]
    references = [made(model.parameters()) for model in theirs]
    rows = sorted(range(3), key=lambda number: step_method(runs[number]))
    runs, ours, theirs = [runs[row] for row in rows], [ours[row] for row in rows], [theirs[row] for row in rows]
    references = [references[row] for row in rows]
    parameters = Parameters([run.model for run in runs], CPU)
    rates = [Rates(run.optimizer, None, 12) for run in runs]
    blocks, own = make_updates(runs, rates, parameters, [step_method(run) for run in runs], torch_compile.eager)
    assert not own
    for t in range(1, 13):
        parameters.gradients.zero_()
        for row, model in zip(parameters.gradients, theirs, strict=True):
            start = 0
            for p in model.parameters():
                p.grad = torch.randn(p.shape, generator=random, dtype=torch.float64)
                row[start : start + p.numel()] = p.grad.flatten()
                start += ALIGNMENT
        for block in blocks:
            block.coefficients = torch.from_numpy(block.table(range(t, t + 1))[0])
            block.update()
        for model, expected, reference in zip(ours, theirs, references, strict=True):
            reference.step()
            for p, q in zip(model.parameters(), expected.parameters(), strict=True):
                rtol, atol = TOLERANCE.get(name, (1e-9, 1e-11))
                torch.testing.assert_close(p, q, rtol=rtol, atol=atol)


def test_stack_compiled_step_equals_eager_step(
    real_mnist: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Trace the graphs without generating code, which needs a GPU."""
    data = splits_of(real_mnist, 200)

    def runs(optims: Iterable[str], seeds: int) -> list[Run]:
        options: dict[str, Any] = {"dropout": 0.3, "input_dropout": 0.2}
        made = [run("he", seed, optim, torch.float64, **options) for optim in optims for seed in range(seeds)]
        return sorted(made, key=step_method)

    monkeypatch.setattr(torch_compile, "BACKEND", "aot_eager")
    for optims, seeds in ((OPTIMIZERS, 2), (("sgd", "adam"), 3)):  # stacks of different sizes, as in one sweep
        expected = steps_of_stack(Stack(runs(optims, seeds), data, BATCH, CPU), (3,))[3]
        made = Stack(runs(optims, seeds), data, BATCH, CPU, compile=True)
        with torch._dynamo.config.patch(error_on_recompile=True):  # warm-up has compiled everything
            found = steps_of_stack(made, (3,))[3]
        assert not compile_log(caplog)  # nothing fell back
        for ours, eager in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, eager, rtol=1e-9, atol=1e-10)


def test_compiler_with_broken_backend_falls_back_to_eager(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("there is no C compiler")

    monkeypatch.setattr(torch_compile, "BACKEND", broken)
    compiler = torch_compile.Compiler()
    double = compiler(lambda x: x.mul_(2))
    x = torch.tensor(21.0)
    double(x)
    assert x == 42
    double(x)
    assert x == 84
    compiler(lambda x: x.mul_(2))(x)  # compilation is not tried again
    assert x == 168
    (message,) = compile_log(caplog)
    assert message.startswith("stacks run uncompiled, which is slower: ")
    assert "there is no C compiler" in message


def compile_log(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log messages of the module that compiles."""
    return [record.getMessage() for record in caplog.records if record.name == torch_compile.__name__]


def test_stack_with_diverging_run_leaves_other_runs_unchanged(real_mnist: Dataset) -> None:
    data = splits_of(real_mnist, 400)

    def runs(with_bad: bool) -> list[Run]:
        good = [run("he", seed, "sgd", batch_norm=False) for seed in (0, 1)]
        if not with_bad:
            return good
        bad = run("he", 0, "sgd", batch_norm=False)
        bad.optimizer.param_groups[0]["lr"] = 1e6
        return [good[0], bad, good[1]]

    records, without = train_stack(runs(True), data, epochs=2), train_stack(runs(False), data, epochs=2)
    *before, last = records[1]
    assert isinstance(last, Diverged)
    expected = train_alone(runs(True)[1], data, epochs=2)
    assert str(last) == str(expected[-1])
    assert [type(record) for record in before] == [type(record) for record in expected[:-1]]
    assert isinstance(before[-1], StepLoss)
    assert not math.isfinite(before[-1].loss)
    for found, wanted in zip(records[0] + records[2], without[0] + without[1], strict=True):
        assert isinstance(found, Metrics | StepLoss)
        assert isinstance(wanted, Metrics | StepLoss)
        assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
        if isinstance(found, Metrics) and isinstance(wanted, Metrics):
            assert found.accuracy == pytest.approx(wanted.accuracy, abs=0.011)


def test_stack_ends_when_all_runs_have_diverged(real_mnist: Dataset) -> None:
    bad = [run("he", seed, "sgd", batch_norm=False) for seed in (0, 1)]
    for one in bad:
        one.optimizer.param_groups[0]["lr"] = 1e6
    records = train_stack(bad, splits_of(real_mnist, 200), epochs=1000)
    assert all(isinstance(of_run[-1], Diverged) for of_run in records.values())


def test_stack_supports_known_layers_with_all_parameters_only() -> None:
    model = network("he", 0)
    assert not loop.supports(model, torch.optim.SGD(list(model.parameters())[1:], lr=0.1))
    residual = nn.Sequential(nn.Linear(784, 784), nn.LayerNorm(784))
    assert not loop.supports(residual, optimizer("sgd", residual.parameters()))
    assert loop.supports(model, optimizer("sgd", model.parameters()))


def test_architecture_differs_by_layers_but_not_by_initial_weights() -> None:
    kinds = [
        network("he", 0, **options)
        for options in ({}, {"dropout": 0.4}, {"input_dropout": 0.4}, {"activation": "tanh"}, {"hidden": [64]})
    ]
    assert len({loop.architecture(kind) for kind in kinds}) == len(kinds)
    assert loop.architecture(network("he", 0)) == loop.architecture(network("lecun", 1))
