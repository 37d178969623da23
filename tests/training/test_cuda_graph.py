"""When a step is captured and replayed; there is no GPU here, so PyTorch's part is played."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from mnist_mlp.training.stack.cuda_graph import WARM_UP, GraphCapture, Repeated


class Gpu:
    """Writes down what is asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.done: list[str] = []
        self.graphs: list[weakref.ref[object]] = []
        self.error = error
        self.stream = "usual"
        gpu = self

        class Graph:
            def __init__(self) -> None:
                gpu.graphs.append(weakref.ref(self))

            def replay(self) -> None:
                gpu.done.append("replay")

            def reset(self) -> None:
                pass

        @contextmanager
        def graph(graph: Graph, stream: str) -> Iterator[None]:
            gpu.done.append(f"capture on {stream}")
            gpu.stream = stream
            yield
            if gpu.error:
                raise gpu.error  # as where the end of a capture finds it invalid, with the stream still set
            gpu.stream = "usual"

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", graph)
        monkeypatch.setattr(torch.cuda, "Stream", lambda: "another")
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: gpu.stream)
        monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(gpu, "stream", stream))

    def step(self) -> None:
        self.done.append("step")


def test_a_step_is_captured_after_a_few_and_then_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(monkeypatch)
    step = Repeated(gpu.step, GraphCapture())
    for _ in range(WARM_UP + 2):
        step()
    assert gpu.done == ["step"] * WARM_UP + ["capture on another", "step", "replay", "replay"]


def test_nothing_is_captured_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(monkeypatch)
    step = Repeated(gpu.step, capture=None)
    for _ in range(10):
        step()
    assert gpu.done == ["step"] * 10


def test_what_cannot_be_captured_is_done_all_the_same_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = Gpu(monkeypatch, RuntimeError("operation not permitted when stream is capturing"))
    capture = GraphCapture()
    for _ in range(2):
        step = Repeated(gpu.step, capture)
        for _ in range(WARM_UP + 2):
            step()
    assert gpu.done == ["step"] * WARM_UP + ["capture on another"] + ["step"] * (1 + 2 + WARM_UP + 2)
    assert gpu.stream == "usual"
    assert [record.getMessage() for record in caplog.records] == [
        "the step is not captured as a CUDA graph, which is slower: "
        "RuntimeError: operation not permitted when stream is capturing"
    ]


def test_failed_capture_without_references_keeps_its_graph_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(monkeypatch, RuntimeError("operation not permitted when stream is capturing"))
    assert GraphCapture()(gpu.step) is None
    gc.collect()
    (graph,) = gpu.graphs
    assert graph() is not None


def test_failed_capture_leaves_other_captures_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(monkeypatch, RuntimeError("operation not permitted when stream is capturing"))
    assert GraphCapture()(gpu.step) is None
    gpu.error = None
    assert GraphCapture()(gpu.step) is not None


def test_too_little_memory_is_no_reason_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    step = Repeated(gpu.step, GraphCapture())
    for _ in range(WARM_UP):
        step()
    with pytest.raises(torch.OutOfMemoryError):
        step()
