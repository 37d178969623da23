"""The loops that the benchmarks compare can be built, and train; their figures are for a machine at rest."""

from collections.abc import Iterator

import pytest

from benchmarks import contenders
from mnist_mlp.data.splits import Dataset
from mnist_mlp.training.process import prepared_to_train
from tests.helpers.paths import DATA


@pytest.fixture(autouse=True)
def _as_before(real_mnist: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))
    with prepared_to_train(threads=1):  # which they set up for good
        yield


@pytest.mark.parametrize("optimizer", contenders.OPTIMIZERS)
def test_the_tutorial_has_the_optimizer_that_is_configured(optimizer: str) -> None:
    test = contenders.tutorial(optimizer).test
    assert test is not None
    if optimizer == "adam":
        assert 0 < test() < 0.3


def test_every_loop_of_ours_is_built() -> None:
    for make in (contenders.ours, contenders.floor):
        make("adam")
    contenders.alone("adam", images=64, device="cpu").epoch()
    contenders.stacked("adam", runs=2, images=64, device="cpu").epoch()
