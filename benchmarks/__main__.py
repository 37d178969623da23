"""Run the benchmarks and print their tables in Markdown: `make bench`, or `python -m benchmarks PART ...`."""

import argparse
import datetime
import importlib.metadata
import importlib.util
import os
import statistics
import sys
from collections.abc import Callable, Sequence

import pandas as pd

from benchmarks import contenders, epochs, library, planning, products, sweeps
from benchmarks.printing import say, show
from mnist_mlp.base.provenance import cpu_model


def epochs_part() -> None:
    """Seconds an epoch, for each optimizer: one core each, the tutorial's loop on all; then whole two-worker sweeps."""
    rows = {}
    for optimizer in contenders.OPTIMIZERS:
        say(f"epochs: {optimizer}")
        rows[optimizer] = epochs.compare(optimizer)
    measured = pd.DataFrame(rows).T
    show("Seconds of training an epoch, on one core (the tutorial's loop: on all)", epochs.table(measured))

    say("sweeps")
    tutorial = measured["tutorial"] + measured["tutorial_test"]
    jobs, whole = sweeps.seconds_of_each()
    frame = pd.DataFrame({"tutorial": tutorial, "our job": pd.Series(jobs)}).loc[measured.index]
    frame["tutorial / (our job / 2)"] = frame["tutorial"] / frame["our job"] * 2
    show("Seconds an epoch with evaluation, ours as one of two jobs at a time", frame)
    print(f"Whole sweep over all eight: {whole:.2f} s an epoch, {tutorial.mean() / whole:.2f} times the throughput\n")
    adam = sweeps.adam_seconds()
    ratio = tutorial["adam"] / adam
    print(f"Whole sweep of {sweeps.RUNS} seeds with Adam: {adam:.2f} s an epoch, {ratio:.2f} times the throughput\n")


def start_part() -> None:
    """From the start of a tiny run to its end, and the memory of a sweep's worker."""
    say("start and memory")
    worker, bare = sweeps.worker_memory()
    print(f"\nStart of `python run.py epochs=1 data.train_size=64` to its end: {sweeps.start_seconds():.1f} s\n")
    print(f"Peak memory of a worker: {worker:.0f} MB; of `import torch, torchvision` alone: {bare:.0f} MB\n")


def accuracy_part() -> None:
    """Final test accuracies of our loop and of the tutorial's."""
    say("accuracies")
    ours, theirs = sweeps.accuracies("adam")
    for name, values in (("ours", ours), ("the tutorial's", theirs)):
        listed = ", ".join(f"{value:.2%}" for value in values)
        print(f"\nTest accuracy, {name}: mean {statistics.mean(values):.3%} ({listed})")
    points = 100 * (statistics.mean(ours) - statistics.mean(theirs))
    print(f"\nDifference of the means: {points:+.3f} percentage points (he, adam, {sweeps.FIDELITY_EPOCHS} epochs)\n")


def products_part() -> None:
    """Microseconds of each matrix product, by MKL and by oneDNN."""
    say("products")
    show("Microseconds a product", products.compare(), digits=1)


def planning_part(sizes: Sequence[int] = planning.SIZES) -> None:
    """CPU and wall seconds of planning many jobs; `--jobs N ...` takes other numbers of them."""
    say("planning")
    show("Planning of jobs, each with a learning rate of its own", planning.table(list(sizes)), digits=1)


def library_part() -> None:
    """Cost of saving weights, and `mnist_mlp.train` against the command, in interleaved pairs."""
    say("library")
    print(f"\nWeights of every epoch / none, seconds of whole runs: {library.ratio(library.saving())}\n")
    print(f"\nmnist_mlp.train / run.py, training seconds: {library.ratio(library.training())}\n")


PARTS: dict[str, Callable[[], None]] = {
    "epochs": epochs_part,
    "start": start_part,
    "accuracy": accuracy_part,
    "products": products_part,
    "planning": planning_part,
    "library": library_part,
}


def main() -> None:
    """Run the parts that are named on the command line."""
    parts = "\n".join(f"  {name:10}{part.__doc__}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\n\nparts:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="all by default, which takes some 20 minutes")
    parser.add_argument(
        "--jobs", nargs="+", type=int, default=planning.SIZES, metavar="N", help="numbers of jobs to plan"
    )
    arguments = parser.parse_args()
    chosen = arguments.parts or list(PARTS)
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}. Known parts: {', '.join(PARTS)}")
    installed = [name for name in ("torch", "jax", "optax", "numba") if importlib.util.find_spec(name)]
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in installed)
    print(
        f"{datetime.date.today()}, {cpu_model()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, {versions}"
    )
    for part in chosen:
        if part == "planning":
            planning_part(arguments.jobs)
        else:
            PARTS[part]()


if __name__ == "__main__":
    main()
