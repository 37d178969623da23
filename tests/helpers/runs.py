"""Run directories with given accuracies."""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported lazily otherwise: the process that distributes the tests needs no such module
    import pandas as pd

Write = Callable[..., Path]

Report = Callable[..., "pd.DataFrame"]


def run_writer(tmp_path: Path) -> Write:
    """Return a function that writes a run directory with given accuracies, one per epoch from epoch 0."""
    from mnist_mlp.base.record import COLUMNS, METRICS_FILE, RUN_FILE, Metrics
    from mnist_mlp.base.schema import SOURCES

    def write(
        init: str = "he",
        optim: str = "adam",
        seed: int = 0,
        test: list[float] | None = None,
        val: list[float] | None = None,
        train: list[float] | None = None,
        lr: float = 0.01,
        status: str = "completed",
        reason: str | None = None,
        data: str = "mnist",
        digest: str | None = "d" * 64,
        optim_config: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        data_facts: Mapping[str, Any] | None = None,
        data_config: Mapping[str, Any] | None = None,
        values: Mapping[str, Sequence[float]] = MappingProxyType({}),
        **more: Any,
    ) -> Path:
        test = test or [0.1, 0.5, 0.9]
        curves = {"train": train or [a / 2 for a in test], "test": test}
        if val != []:
            curves["val"] = val or [a * 0.9 for a in test]
        rows = [
            Metrics(
                *(epoch, 10 * epoch, split, 1 - accuracy[epoch], accuracy[epoch], lr, 2.0 * epoch),
                tuple("" if split == "train" else of_metric[epoch] for of_metric in values.values()),  # type: ignore[misc]
            )
            for epoch in range(len(test))
            for split, accuracy in curves.items()
        ]
        directory = (
            tmp_path
            / "sweep"
            / re.sub(r"\W", "-", f"{data}-{init}-{optim}-{lr}-{seed}-{more}-{data_config}-{len(test)}")
        )
        (directory / ".hydra").mkdir(parents=True)
        with (directory / METRICS_FILE).open("w", newline="") as file:
            csv.writer(file).writerows([[*COLUMNS, *values], *([*r[: len(COLUMNS)], *r.metrics] for r in rows)])
        last = {r.split: {"loss": r.loss, "accuracy": r.accuracy, "epoch": r.epoch} for r in rows}
        config: dict[str, Any] = {
            "seed": seed,
            "seeds": dict.fromkeys(SOURCES),
            "epochs": len(test) - 1,
            "tf32": False,
            "data": data_config or {},
            "optim": {"lr": lr, "decay_biases": True, **(optim_config or {})},
            "init": {"bias": "default", "bias_std": None},
            "schedule": {"_target_": "mnist_mlp.training.schedules.constant", "warmup": 0.0},
        }
        for key, value in more.items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        summary: dict[str, Any] = {
            "status": status,
            "reason": reason,
            "final": last,
            "seconds": 2.0 * (len(test) - 1),
            "config_hash": directory.name,
            "ended": "2026-01-01T00:00:00+00:00",
            "wall_seconds": 2.0 * (len(test) - 1),
            "choices": {"data": data, "model": "mlp", "init": init, "optim": optim, "schedule": "constant"},
            "config": config,
            "environment": environment or {},
            "code": {},
            "overrides": [f"init={init}", f"optim={optim}", f"seed={seed}"],
            "data": {"digest": digest, **(data_facts or {})},
        }
        (directory / RUN_FILE).write_text(json.dumps(summary))
        return directory

    return write
