"""Training of small networks on real images."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from mnist_mlp.base.record import Metrics, Record
from mnist_mlp.data.splits import Splits
from mnist_mlp.network.init import initialize, variance_scaling_
from mnist_mlp.network.mlp import MLP
from mnist_mlp.training.loop import train
from mnist_mlp.training.seeds import derive_seeds

Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def network(seed: int = 0, **kwargs: object) -> MLP:
    model = MLP(784, 10, hidden=[32, 16], **kwargs)  # type: ignore[arg-type]
    initialize(model, variance_scaling_, "default", torch.Generator().manual_seed(seed))
    return model


def adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def started(
    data: Splits, make: Make = adam, epochs: int = 2, seed: int = 0, model: nn.Module | None = None
) -> Iterator[Record]:
    seeds = derive_seeds(seed)
    model = model or network(seeds.weights)
    return train(
        model,
        make(model.parameters()),
        data,
        epochs=epochs,
        batch_size=32,
        seeds=seeds,
        log_interval=5,
    )


def run(*args: Any, **kwargs: Any) -> list[Record]:
    return list(started(*args, **kwargs))


def timeless(records: list[Record]) -> list[Record]:
    return [record._replace(seconds=0.0) if isinstance(record, Metrics) else record for record in records]
