"""Seconds an epoch of each loop: ours, the floor and JAX on one core, the tutorial's on all of them."""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pandas as pd

from benchmarks import contenders

PINNED = ("ours", "floor", "jax")  # to one core
EPOCHS = 10  # as the tutorial trains
TUTORIAL_EVERY = 4  # it takes so long that it joins in only so often


def compare(optimizer: str) -> dict[str, float]:
    """Medians over epochs in which the loops took turns, each in a process of its own.

    The first two of the pinned ones do not count, as JAX compiles in both, and Numba may in one; the tutorial's, which
    compiles nothing, count all.

    Returns:
        `ours`, `floor`, `jax`, `tutorial`: seconds an epoch; `tutorial_test`: seconds of its evaluation;
        `tenth/second`: our tenth epoch's seconds over our second's.
    """
    names = (*PINNED, "tutorial")
    with workers(names, optimizer) as pipes:
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for number in range(EPOCHS):
            for name in names if number % TUTORIAL_EVERY == 0 else PINNED:
                pipes[name].send(True)
                seconds[name].append(pipes[name].recv())
    trained = {name: [train for train, _ in taken] for name, taken in seconds.items()}
    return {
        **{name: statistics.median(trained[name][2:]) for name in PINNED},
        "tutorial": statistics.median(trained["tutorial"]),
        "tutorial_test": statistics.median(test for _, test in seconds["tutorial"]),
        "tenth/second": trained["ours"][9] / trained["ours"][1],
    }


@contextmanager
def workers(names: tuple[str, ...], optimizer: str) -> Iterator[dict[str, Connection]]:
    """A process for each loop, which trains and tests whenever its pipe says so, and answers with both times."""
    contenders.fetch()
    context = get_context("spawn")
    pipes, processes = {}, []
    for name in names:
        pipes[name], there = context.Pipe()
        processes.append(context.Process(target=_work, args=(name, optimizer, there), daemon=True))
        processes[-1].start()
        there.close()  # so that a worker's death shows as the end of its pipe
    try:
        for pipe in pipes.values():
            pipe.recv()  # it is ready
        yield pipes
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(name: str, optimizer: str, pipe: Connection) -> None:
    if name in PINNED:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.environ |= {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    loop = getattr(contenders, name)(optimizer)
    pipe.send("ready")
    while pipe.recv():
        started = time.perf_counter()
        loop.epoch()
        trained = time.perf_counter()
        if loop.test:
            loop.test()
        pipe.send((trained - started, time.perf_counter() - trained))


def table(measured: pd.DataFrame) -> pd.DataFrame:
    """The columns that are shown, from one row of `compare` an optimizer."""
    shown = measured[["tutorial", "jax", "ours", "floor"]].copy()
    shown["ours / jax"] = measured["ours"] / measured["jax"]
    shown["ours / floor"] = measured["ours"] / measured["floor"]
    shown["tutorial / ours"] = measured["tutorial"] / measured["ours"]
    shown["tenth / second"] = measured["tenth/second"]
    return shown
