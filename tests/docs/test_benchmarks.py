"""Benchmark contenders: each can be built and trains. Speed is measured by `make bench` only."""

from collections.abc import Iterator

import pytest

from benchmarks import contenders
from mnist_mlp.data.splits import Dataset
from mnist_mlp.training.process import training_settings
from tests.helpers.paths import DATA


@pytest.fixture(autouse=True)
def _as_before(real_mnist: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    with training_settings(threads=1):  # contenders change process settings without restoring them
        yield


@pytest.mark.parametrize("optimizer", contenders.OPTIMIZERS)
def test_tutorial_contender_is_built_with_optimizer_and_trains(optimizer: str) -> None:
    test = contenders.tutorial(optimizer).test
    assert test is not None
    if optimizer == "adam":
        assert 0 < test() < 0.3


def test_contenders_of_this_project_are_built() -> None:
    for make in (contenders.ours, contenders.floor):
        make("adam")
    contenders.alone("adam", images=64, device="cpu").epoch()
    contenders.stacked("adam", runs=2, images=64, device="cpu").epoch()
