"""Seconds an epoch of each loop, for each optimizer: ours, the floor and JAX on one core, the tutorial's on all."""

import os
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection

from benchmarks import contenders

PINNED = ("ours", "floor", "jax")
EPOCHS = 10  # of the pinned loops; the first, in which JAX and Numba compile, is not counted
TUTORIAL_EPOCHS = 3


def measure(names: tuple[str, ...], optimizer: str, epochs: int) -> dict[str, list[float]]:
    """Seconds of each epoch after the first, of loops that take turns; each lives in a process of its own."""
    context = get_context("spawn")
    workers = {}
    for name in names:
        here, there = context.Pipe()
        process = context.Process(target=_worker, args=(name, optimizer, there), daemon=True)
        process.start()
        workers[name] = (process, here)
    for _, pipe in workers.values():
        pipe.recv()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(epochs):
        for name, (_, pipe) in workers.items():
            pipe.send(True)
            seconds[name].append(pipe.recv())
    for process, pipe in workers.values():
        pipe.send(False)
        process.join()
    return {name: taken[1:] for name, taken in seconds.items()}


def _worker(name: str, optimizer: str, pipe: Connection) -> None:
    if name in PINNED:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before any library counts the cores
        os.environ |= {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    epoch = getattr(contenders, name)(optimizer)
    pipe.send(None)
    while pipe.recv():
        started = time.perf_counter()
        epoch()
        pipe.send(time.perf_counter() - started)
