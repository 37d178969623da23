"""Runs of a stack."""

import dataclasses
from typing import Any

import torch
from torch import nn

from mnist_mlp.data.splits import Dataset, Splits, make_splits
from mnist_mlp.network.init import initialize, variance_scaling_
from mnist_mlp.network.mlp import MLP
from mnist_mlp.training.seeds import Seeds
from mnist_mlp.training.stack.runs import Run
from tests.helpers.optimizers import optimizer

CPU = torch.device("cpu")

INITS = {"lecun": 1.0, "he": 2.0}  # variance in units of 1 / fan_in

State = dict[str, torch.Tensor]


def network(init: str, seed: int, **options: Any) -> MLP:
    model = MLP(784, 10, **{"hidden": [64, 32], **options})
    generator = torch.Generator().manual_seed(seed)
    initialize(
        model, lambda w, *, generator: variance_scaling_(w, INITS[init], generator=generator), "default", generator
    )
    return model


def run(init: str, seed: int, optim: str, dtype: torch.dtype = torch.float32, **options: Any) -> Run:
    """Return the run of `run.py init=INIT optim=OPTIM seed=SEED`, with simpler derived seeds."""
    model = network(init, seed, **options).to(dtype)
    return Run(
        model, optimizer(optim, model.parameters()), Seeds(seed, batches=10 + seed, dropout=20 + seed, modules=0)
    )


def splits_of(data: Dataset, train_size: int, val_size: int = 100) -> Splits:
    splits = make_splits(data, train_size, val_size, split_seed=0, normalize=False)
    return dataclasses.replace(splits, test=dataclasses.replace(splits.test, rows=torch.arange(200)))


def state(model: nn.Module) -> State:
    return {name: value.clone() for name, value in model.state_dict().items()}
