"""Every optimizer of `conf/optim/`: seconds an epoch over our Adam's, how it is computed, and whether it stacks.

`python -m benchmarks.optimizers` prints the table of `benchmarks/README.md`; some five minutes.
"""

import datetime
import os
import statistics
import time
from pathlib import Path

import pandas as pd
import torch

from benchmarks.contenders import configuration, fetch
from benchmarks.printing import say
from mnist_mlp.base.provenance import cpu_model
from mnist_mlp.build.from_config import Parts, build
from mnist_mlp.build.stack_members import run_of
from mnist_mlp.data.batches import batches
from mnist_mlp.training.optimizers import set_mode
from mnist_mlp.training.process import apply_training_settings
from mnist_mlp.training.stack import loop
from mnist_mlp.training.stack.steps import step_method
from mnist_mlp.training.step import Step, make_step, path

VARIANTS: dict[str, dict[str, object]] = {
    "adam, amsgrad": {"optim.amsgrad": True},
    "rmsprop, centered, momentum": {"optim.centered": True, "optim.momentum": 0.9},
}
ROUNDS, STEPS, BATCH = 11, 60, 32  # all take turns; medians of the rounds after the first


def seconds(parts: Parts, step: Step) -> float:
    """Of some steps."""
    order = batches(len(parts.data.train), BATCH, torch.Generator().manual_seed(0))[:STEPS]
    started = time.perf_counter()
    for index in order:
        step(*parts.data.train.take(index))
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    apply_training_settings(threads=1)
    fetch()
    options = sorted(file.stem for file in (Path(__file__).parents[1] / "conf/optim").glob("*.yaml"))
    settings: dict[str, dict[str, object]] = {name: {} for name in options} | VARIANTS
    parts = {
        name: build(configuration(name.partition(",")[0], device="cpu", **given)) for name, given in settings.items()
    }
    names = list(parts)
    rows = {
        name: {
            "alone": path(made.model, made.optimizer),
            "in a stack": step_method(run_of(made)).how if loop.supports(made.model, made.optimizer) else "not at all",
        }
        for name, made in parts.items()
    }
    steps = {name: make_step(made.model.train(), made.optimizer, made.seeds) for name, made in parts.items()}
    for made in parts.values():
        set_mode(made.optimizer, training=True)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}")
        for name in names:
            taken[name].append(seconds(parts[name], steps[name]))
    medians = {name: statistics.median(of[1:]) for name, of in taken.items()}
    whole = len(parts["adam"].data.train) / BATCH / STEPS
    print(f"{datetime.date.today()}, {cpu_model()}, {os.cpu_count()} cores, torch {torch.__version__}\n")
    frame = pd.DataFrame(rows).T
    frame.insert(0, "over Adam", [f"{medians[name] / medians['adam']:.2f}" for name in names])
    frame.insert(0, "seconds an epoch", [f"{medians[name] * whole:.2f}" for name in names])
    print(f"| optimizer | {' | '.join(frame.columns)} |\n|---|{'---|' * len(frame.columns)}")
    for name, row in frame.iterrows():
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
