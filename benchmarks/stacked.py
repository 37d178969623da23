"""Throughput of a stack against its number of runs, beside one run at a time and `jax.vmap`, on one device.

    python -m benchmarks.stacked                     on the GPU; some minutes
    python -m benchmarks.stacked --study             the whole study of 240 runs as well, as a user starts it
    python -m benchmarks.stacked --device cpu --images 1600 --runs 1,2,4,8

One run at a time is plain PyTorch: tensors on the device, autograd, the optimizer with its defaults. The bound is what
the device's memory allows: the bytes that a step must move (the weights into both passes, the gradients out, the
optimizer's arrays in and out), at the speed of a large copy measured here.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import contenders
from benchmarks.printing import say, show

WARM_UP, EPOCHS = 2, 3
UPDATE_PASSES = {"sgd": 3, "momentum": 5, "nag": 5, "adagrad": 5, "rmsprop": 5, "adadelta": 7, "adam": 7, "radam": 7}
STUDY = (
    *("-m", "init=lecun,he,default", f"optim={','.join(UPDATE_PASSES)}", f"seed={','.join(map(str, range(10)))}"),
    *("hydra/launcher=stacked", "hydra.sweep.dir=study"),
)


def seconds(name: str, *arguments: Any) -> float:
    """Median seconds an epoch of one of the contenders, in a process of its own; infinite where it cannot run."""
    context = get_context("spawn")
    # Where it stops, the reason is on standard error.
    pipe, there = context.Pipe()
    process = context.Process(target=_work, args=(name, arguments, there), daemon=True)
    process.start()
    there.close()
    try:
        return statistics.median(pipe.recv())
    except EOFError:  # it has said why
        return float("inf")
    finally:
        process.join()


def _work(name: str, arguments: tuple[Any, ...], pipe: Connection) -> None:
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    loop = getattr(contenders, name)(*arguments)
    taken = []
    for _ in range(WARM_UP + EPOCHS):
        started = time.perf_counter()
        loop.epoch()
        taken.append(time.perf_counter() - started)
    pipe.send(taken[WARM_UP:])


def bytes_a_step(optimizer: str) -> float:
    """The least that a step of one run moves to and from memory, counting arrays of the parameters' size only."""
    weights = [4 * a * b for a, b in zip(contenders.SIZES, contenders.SIZES[1:], strict=False)]
    forward, backward, gradients = sum(weights), sum(weights[1:]), sum(weights)
    return forward + backward + gradients + UPDATE_PASSES[optimizer] * sum(weights)


def copy_speed(device: str) -> float:
    """Bytes a second that a large copy on the device reads and writes."""
    import torch

    source = torch.zeros(2**28 if device != "cpu" else 2**26, device=device)
    target = torch.empty_like(source)
    taken = []
    for _ in range(10):
        started = time.perf_counter()
        target.copy_(source)
        if device != "cpu":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return 2 * source.nbytes / statistics.median(taken[3:])


def study() -> None:
    """The study of 3 initializations, 8 optimizers, 10 seeds, by its command: seconds of training, and in all."""
    top = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as directory:
        data = Path(contenders.configuration("sgd")["data"]["root"]).absolute()
        command = [sys.executable, str(top / "run.py"), *STUDY]
        started = time.perf_counter()
        subprocess.run(command, cwd=directory, env=os.environ | {"MNIST_MLP_DATA": str(data)}, check=True)
        wall = time.perf_counter() - started
        runs = [json.loads(path.read_text()) for path in Path(directory).glob("study/*/run.json")]
    training = sum(run["seconds"] for run in runs)
    sizes = sorted({run["stack_size"] for run in runs})
    print(f"\n{' '.join(['run.py', *STUDY])}: {len(runs)} runs x 10 epochs in stacks of {sizes}:")
    print(f"{training:.1f} s of training, {wall:.1f} s from the start of the command to its report")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="[%(default)s]")
    parser.add_argument("--optim", default="adam", choices=contenders.OPTIMIZERS, help="[%(default)s]")
    parser.add_argument("--runs", default="1,8,30,60,120,240,480", help="sizes of the stack [%(default)s]")
    parser.add_argument("--images", type=int, default=60000, help="training images an epoch [%(default)s]")
    parser.add_argument("--tf32", action="store_true", help="products by TensorFloat-32, ours and JAX's")
    parser.add_argument("--study", action="store_true", help="the study of 240 runs as well")
    arguments = parser.parse_args()
    import torch

    if arguments.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {arguments.device}: expected cpu, since there is no GPU here")
    contenders.fetch()
    where = torch.cuda.get_device_name() if arguments.device != "cpu" else f"{os.cpu_count()} CPU cores"
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "jax", "optax"))
    print(f"{datetime.date.today()}, {where}, {versions}")
    speed = copy_speed(arguments.device)
    print(f"A large copy moves {speed / 1e12:.3f} TB/s.")

    say("one run at a time")
    one = seconds("alone", arguments.optim, arguments.images, arguments.device)
    rows = {}
    for runs in map(int, arguments.runs.split(",")):
        say(f"a stack of {runs}")
        ours = seconds("stacked", arguments.optim, runs, arguments.images, arguments.device, arguments.tf32)
        jax = seconds("jax_stacked", arguments.optim, runs, arguments.images, arguments.device, arguments.tf32)
        steps = arguments.images // contenders.BATCH
        rows[runs] = {
            "ours, run-epochs/s": runs / ours,
            "jax.vmap, run-epochs/s": runs / jax,
            "ours / one at a time": runs / ours * one,
            "ours / jax.vmap": jax / ours,
            "ms a step": 1000 * ours / steps,
            "share of the bound": runs * steps * bytes_a_step(arguments.optim) / speed / ours,
        }
    print(f"\nOne run at a time in plain PyTorch: {1 / one:.2f} run-epochs/s")
    show(f"Stacks of runs, {arguments.optim}, {arguments.images} images an epoch", pd.DataFrame(rows).T)
    if arguments.study:
        study()


if __name__ == "__main__":
    main()
