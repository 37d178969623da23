"""Capture and replay of steps as CUDA graphs; the tests that need a GPU are skipped without one."""

import pytest
import torch

from mnist_mlp.training.stack.cuda_graph import WARM_UP, GraphCallable, GraphCapture

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Counter:
    """Function that adds 1 to a tensor, and counts how often Python calls it."""

    def __init__(self, device: str, reads_back: bool = False) -> None:
        self.total, self.calls, self.reads_back = torch.zeros(1, device=device), 0, reads_back

    def __call__(self) -> None:
        self.calls += 1
        self.total.add_(1)
        if self.reads_back:
            self.total.item()


def test_repeated_without_capture_calls_its_function_each_time() -> None:
    count = Counter("cpu")
    step = GraphCallable(count, capture=None)
    assert step.calls_until_fast == 1
    for _ in range(10):
        step()
    assert (count.calls, count.total.item()) == (10, 10)


@needs_gpu
def test_repeated_on_gpu_after_warm_up_replays_graph() -> None:
    count = Counter("cuda")
    step = GraphCallable(count, GraphCapture())
    for _ in range(WARM_UP + 5):
        step()
    assert count.total.item() == WARM_UP + 5
    assert count.calls == WARM_UP + 1  # the last one is captured, and then replayed


@needs_gpu
def test_graph_capture_of_function_that_reads_back_falls_back_to_eager(caplog: pytest.LogCaptureFixture) -> None:
    capture = GraphCapture()
    for _ in range(2):  # the second function is not tried
        count = Counter("cuda", reads_back=True)
        step = GraphCallable(count, capture)
        for _ in range(WARM_UP + 2):
            step()
    assert count.total.item() == count.calls == WARM_UP + 2
    assert not capture.works
    (record,) = caplog.records
    assert record.getMessage().startswith("the step is not captured as a CUDA graph, which is slower: ")


@needs_gpu
def test_graph_capture_after_failed_capture_succeeds() -> None:
    assert GraphCapture()(Counter("cuda", reads_back=True)) is None
    count = Counter("cuda")
    graph = GraphCapture()(count)
    assert graph is not None
    before = count.total.item()
    graph.replay()
    assert count.total.item() == before + 1
