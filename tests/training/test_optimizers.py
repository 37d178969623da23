"""Optimizers in the training loop: train and eval modes, and refusal of unsupported optimizers before training."""

import pydoc
from typing import Any

import pytest
import torch
from schedulefree import AdamWScheduleFree, SGDScheduleFreeClosure
from torch import Tensor, nn
from torch.nn import functional as F

from mnist_mlp.base.configuration import plain
from mnist_mlp.base.errors import ConfigError, InvalidArgument
from mnist_mlp.base.record import Metrics
from mnist_mlp.build.instantiate import find_target
from mnist_mlp.data.batches import batches
from mnist_mlp.data.splits import Splits
from mnist_mlp.training.loop import evaluate
from mnist_mlp.training.seeds import derive_seeds
from tests.helpers.composing import composed, refused
from tests.helpers.paths import DATA
from tests.helpers.training import network, run, started


def schedule_free(parameters: Any) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = AdamWScheduleFree(parameters, lr=0.01, warmup_steps=5)
    return made


def test_train_schedule_free_equals_plain_loop_that_switches_modes(few_splits: Splits) -> None:
    ours = network(batch_norm=False, dropout=0.0)
    found = [
        r for r in run(few_splits, schedule_free, epochs=3, model=ours) if isinstance(r, Metrics) and r.split == "test"
    ]

    theirs = network(batch_norm=False, dropout=0.0)
    optimizer: Any = schedule_free(theirs.parameters())
    expected = [evaluate(theirs, few_splits.test)]
    order = torch.Generator().manual_seed(derive_seeds(0).batches)
    for _ in range(3):
        optimizer.train()  # as its README says
        theirs.train()
        for index in batches(len(few_splits.train), 32, order):
            images, labels = few_splits.train.take(index)
            optimizer.zero_grad()
            F.cross_entropy(theirs(images), labels).backward()
            optimizer.step()
        optimizer.eval()
        expected.append(evaluate(theirs, few_splits.test))
    for ours_, (loss, accuracy) in zip(found, expected, strict=True):
        assert ours_.loss == pytest.approx(loss, rel=1e-5)
        assert ours_.accuracy == pytest.approx(accuracy, abs=1e-3)
    assert evaluate(ours, few_splits.test) == pytest.approx(expected[-1], rel=1e-5)  # it keeps these weights
    optimizer.train()
    assert abs(evaluate(theirs, few_splits.test)[0] - expected[-1][0]) > 1e-3  # the training weights differ


def test_train_closed_early_leaves_optimizer_in_eval_mode(few_splits: Splits) -> None:
    model = network(batch_norm=False)
    optimizer: Any = schedule_free(model.parameters())
    records: Any = started(few_splits, lambda _: optimizer, model=model)
    while not optimizer.param_groups[0]["train_mode"]:
        next(records)
    records.close()
    assert not optimizer.param_groups[0]["train_mode"]


class Normalizing(nn.Sequential):
    """User-defined network that keeps statistics of its activations."""

    average: Tensor

    def __init__(self) -> None:
        super().__init__(nn.Linear(784, 10))
        self.register_buffer("average", torch.zeros(10))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self[0](images)
        if self.training:
            self.average += 0.1 * logits.detach().mean(dim=0)
        return logits - self.average


def test_train_custom_statistics_with_optimizer_modes_raises(few_splits: Splits) -> None:
    model = Normalizing()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InvalidArgument, match=r"AdamWScheduleFree: .*average"):
        run(few_splits, schedule_free, model=model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    run(few_splits, epochs=1, model=model)  # without modes, training and evaluation use the same weights


def test_train_with_optimizer_modes_refreshes_batch_norm_statistics(few_splits: Splits) -> None:
    """Check statistics layer by layer; the refresh leaves momentum and batch counts unchanged."""
    model = network(dropout=0.5)
    found = [
        r for r in run(few_splits, schedule_free, epochs=2, model=model) if isinstance(r, Metrics) and r.split == "test"
    ]
    assert found[-1].loss == pytest.approx(evaluate(model, few_splits.test)[0], rel=1e-6)
    images = few_splits.train.take(slice(None))[0]
    layers = list(model.eval())
    for number, layer in enumerate(layers):
        if isinstance(layer, nn.BatchNorm1d):
            with torch.no_grad():
                inputs = nn.Sequential(*layers[:number])(images)
            assert layer.running_mean is not None
            assert layer.running_var is not None
            torch.testing.assert_close(layer.running_mean, inputs.mean(dim=0), rtol=0.01, atol=3e-3)
            torch.testing.assert_close(layer.running_var, inputs.var(dim=0), rtol=0.05, atol=1e-4)
            assert layer.momentum == 0.1
            assert layer.num_batches_tracked == 2 * len(batches(len(few_splits.train), 32, torch.Generator()))


class Sharp(torch.optim.SGD):
    """Optimizer whose step needs a closure, as in most implementations of sharpness-aware minimization."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if closure is None:
            raise RuntimeError("it needs a closure")


class OfTheLoss(torch.optim.SGD):
    def step(self, loss: Tensor) -> None:  # type: ignore[override]
        pass


class LastLayer(torch.optim.SGD):
    def __init__(self, params: list[nn.Parameter], lr: float) -> None:
        super().__init__(params[-2:], lr=lr)


@pytest.mark.usefixtures("real_mnist")
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("torch.optim.LBFGS", ["optim._target_=LBFGS", "whose step needs no arguments", "not closure"]),
        ("schedulefree.SGDScheduleFreeClosure", ["optim._target_=SGDScheduleFreeClosure", "not closure"]),
        ("tests.training.test_optimizers.OfTheLoss", ["optim._target_=OfTheLoss", "not loss"]),
        ("tests.training.test_optimizers.Sharp", ["optim.lr=0.01", "it needs a closure"]),
        (
            "tests.training.test_optimizers.LastLayer",
            ["optim._target_=LastLayer", "Missing: linear1.weight, linear1.bias"],
        ),
        ("torch.optim.SparseAdam", ["optim.lr=0.01", "does not support dense gradients"]),
        ("torch.optim.Muon", ["optim.lr=0.01", "only supports 2D parameters"]),
    ],
)
def test_check_optimizer_that_cannot_train_the_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, target: str, words: list[str]
) -> None:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    config = plain(composed("device=cpu")) | {"optim": {"_target_": target, "_partial_": True, "lr": 0.01}}
    refused(config, words)


@pytest.mark.usefixtures("real_mnist")
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optim=muon", "model.hidden=[]"], ["optim._target_=Muon", "a model with a hidden layer"]),
        (["optim=lion", "optim._target_=pytorch_optimizer_missing.Lion"], ["optim._target_=", "no such class"]),
    ],
)
def test_check_unusable_optim_option_is_refused(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], words: list[str]
) -> None:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    refused(plain(composed("device=cpu", *overrides)), words)


def test_find_target_of_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydoc, "locate", lambda path: None)  # as if it were not installed
    with pytest.raises(ConfigError) as caught:
        find_target("optim", {"_target_": "pytorch_optimizer.Lion", "_partial_": True}, [])
    expected = (
        "optim._target_=pytorch_optimizer.Lion: expected an installed package. Run: pip install -e '.[optimizers]'"
    )
    assert str(caught.value) == expected
    with pytest.raises(ConfigError, match="there is no such class or function"):
        find_target("optim", {"_target_": "pytorch.Lion", "_partial_": True}, [])


def test_train_unsupported_optimizer_raises(few_splits: Splits) -> None:
    for make in (torch.optim.LBFGS, lambda p: SGDScheduleFreeClosure(p, lr=0.1)):
        with pytest.raises(InvalidArgument, match="whose step needs no arguments"):
            run(few_splits, make)
    with pytest.raises(InvalidArgument, match=r"Missing: norm1\.bias"):
        run(few_splits, lambda p: torch.optim.SGD([q for number, q in enumerate(p) if number != 3], lr=0.1))


def test_train_frozen_parameter_left_out_of_optimizer_stays_fixed(few_splits: Splits) -> None:
    model = network(batch_norm=False)
    frozen = model.get_parameter("linear1.weight").requires_grad_(False)
    before = frozen.clone()
    run(few_splits, lambda p: torch.optim.SGD([q for q in p if q.requires_grad], lr=0.1), model=model)
    assert torch.equal(frozen, before)
