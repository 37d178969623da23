"""Run directories with simulated accuracies, as the trainer writes them, for benchmarks of the report."""

import csv
import hashlib
import json
from pathlib import Path

from mnist_mlp.base.record import COLUMNS, COMPLETED, DIVERGED, METRICS_FILE, RUN_FILE, Metrics
from mnist_mlp.base.schema import SOURCES

INITS = ("lecun", "he", "default")
OPTIMS = ("sgd", "momentum", "nag", "adagrad", "rmsprop", "adadelta", "adam", "radam")
SPLITS = ("train", "val", "test")


def write_run(
    directory: Path, init: str, optim: str, seed: int, finals: dict[str, float], epochs: int, lr: float = 0.01
) -> None:
    """Write one run whose accuracies rise from 0.1 to the final ones; without these, one that diverged at once.

    Args:
        directory: of the run.
        init: option.
        optim: option.
        seed: of the run.
        finals: split to final accuracy; empty for a run that diverged.
        epochs: number of rows a split, besides epoch 0.
        lr: learning rate.
    """
    (directory / ".hydra").mkdir(parents=True)
    rows = [
        Metrics(e, 100 * e, split, 1.0 - a, a, lr, 1.5 * e)
        for e in range(epochs + 1 if finals else 1)
        for split in SPLITS
        for a in [finals[split] if finals and e == epochs else 0.1 + _rise(finals.get(split, 0.1), e, epochs)]
    ]
    with (directory / METRICS_FILE).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *(row[: len(COLUMNS)] for row in rows)])
    config = {
        "data": {"_target_": "mnist_mlp.data.mnist", "train_size": None, "val_size": 5000, "split_seed": 0},
        "model": {"_target_": "mnist_mlp.network.MLP", "hidden": [512, 256], "batch_norm": True, "dropout": 0.5},
        "init": {"_target_": "mnist_mlp.network.variance_scaling_", "bias": "default"},
        "optim": {"_target_": f"torch.optim.{optim}", "lr": lr},
        "schedule": {"_target_": "mnist_mlp.training.schedules.constant", "warmup": 0.0},
        "seed": seed,
        "seeds": dict.fromkeys(SOURCES),
        "epochs": epochs,
        "batch_size": 32,
    }
    summary = {
        "status": COMPLETED if finals else DIVERGED,
        "reason": None if finals else "the loss of a batch is nan",
        "final": {r.split: {"loss": r.loss, "accuracy": r.accuracy, "epoch": r.epoch} for r in rows[-len(SPLITS) :]},
        "seconds": 1.5 * epochs,
        "wall_seconds": 2.0 * epochs,
        "ended": "2026-01-01T00:00:00+00:00",
        "config_hash": hashlib.sha256(json.dumps([config, init, optim]).encode()).hexdigest(),
        "choices": {"data": "mnist", "model": "mlp", "init": init, "optim": optim, "schedule": "constant"},
        "code": {},
        "overrides": [f"init={init}", f"optim={optim}", f"optim.lr={lr}", f"seed={seed}"],
        "config": config,
        "environment": {"package": "0.3.0", "commit": "0" * 40, "device": "cpu", "cpu": "simulated", "threads": 1},
        "parameters": 537354,
        "data": {"digest": "d" * 64},
        "step": "simulated",
    }
    (directory / RUN_FILE).write_text(json.dumps(summary))


def _rise(final: float, epoch: int, epochs: int) -> float:
    """Return how far the accuracy has risen above 0.1 by this epoch."""
    return (final - 0.1) * (1 - 0.5**epoch) / (1 - 0.5**epochs)
