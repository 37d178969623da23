"""Process settings (threads, denormals): training uses fixed ones and restores those of the caller."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from mnist_mlp.data.splits import Dataset, Splits
from mnist_mlp.training.process import flushes_denormals
from mnist_mlp.training.stack import loop
from tests.helpers.stacks import CPU, splits_of
from tests.helpers.stacks import run as one
from tests.helpers.training import run, sgd, started, timeless

Settings = tuple[int, bool]


def settings() -> Settings:
    return torch.get_num_threads(), flushes_denormals()


@pytest.fixture(autouse=True)
def _restored_settings() -> Iterator[None]:
    threads, flushed = settings()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(flushed)


class Watching(nn.Linear):
    """Layer that records the process settings at each forward pass."""

    def __init__(self) -> None:
        super().__init__(784, 10)
        self.seen: set[Settings] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.add(settings())
        return super().forward(images)


@pytest.mark.parametrize("own", [(2, False), (2, True), (1, False)])
def test_train_computes_under_its_settings_and_restores_the_callers(few_splits: Splits, own: Settings) -> None:
    torch.set_num_threads(own[0])
    torch.set_flush_denormal(own[1])
    assert settings() == own
    model = Watching()
    for record in started(few_splits, epochs=1, model=model):
        assert settings() == own, record
    assert settings() == own
    assert model.seen == {(1, True)}


def test_train_abandoned_or_failed_restores_process_settings(few_splits: Splits) -> None:
    class Failing(Watching):
        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                raise RuntimeError("on purpose")
            return super().forward(images)

    torch.set_num_threads(2)
    records = started(few_splits, model=Watching())
    next(records)
    del records
    assert settings() == (2, False)
    with pytest.raises(RuntimeError, match="on purpose"):
        run(few_splits, model=Failing())
    assert settings() == (2, False)


def test_train_results_do_not_depend_on_process_settings(few_splits: Splits) -> None:
    def numbers() -> tuple[object, ...]:
        model = nn.Linear(784, 10)
        nn.init.constant_(model.weight, 1e-39)  # denormal, as Adam's moments of pixels that are always black
        nn.init.zeros_(model.bias)
        return timeless(run(few_splits, sgd, epochs=1, model=model)), [p.tolist() for p in model.parameters()]

    torch.set_num_threads(2)
    library = numbers()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    assert numbers() == library


def test_stack_computes_under_its_settings_and_restores_the_callers(real_mnist: Dataset) -> None:
    torch.set_num_threads(2)
    runs = [one("he", seed, "sgd", activation="tanh") for seed in (0, 1)]
    seen: set[Settings] = set()
    runs[0].model.get_submodule("activation1").register_forward_hook(lambda *_: seen.add(settings()))
    data = splits_of(real_mnist, 64)
    for _ in loop.train(runs, data, epochs=1, batch_size=32, log_interval=1, device=CPU):
        assert settings() == (2, False)
    assert seen == {(1, True)}
