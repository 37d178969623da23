"""Additional metrics: their values, against scikit-learn and definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, top_k_accuracy_score
from torch import Tensor

from mnist_mlp.base.errors import InvalidArgument
from mnist_mlp.training.metrics import calibration_error, macro_f1, top_k

predictions = st.builds(
    lambda seed, images, classes: _drawn(seed, images, classes),
    st.integers(0, 2**32),
    st.integers(1, 30),
    st.integers(2, 6),
)


def _drawn(seed: int, images: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(images, classes, generator=generator)
    return logits, torch.randint(classes, (images,), generator=generator)


@settings(max_examples=50, deadline=None)
@given(predictions)
def test_macro_f1_equals_scikit_learn(drawn: tuple[Tensor, Tensor]) -> None:
    logits, labels = drawn
    expected = f1_score(labels.numpy(), logits.argmax(dim=1).numpy(), average="macro", zero_division=0)
    assert macro_f1(logits, labels) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(predictions, st.integers(1, 8))
def test_top_k_equals_scikit_learn(drawn: tuple[Tensor, Tensor], k: int) -> None:
    logits, labels = drawn
    classes = logits.shape[1]
    scores = logits.numpy() if classes > 2 else (logits[:, 1] - logits[:, 0]).numpy()  # as scikit-learn wants them
    if k == 1:
        expected = float((logits.argmax(dim=1) == labels).float().mean())
    elif k >= classes:
        expected = 1.0
    else:
        expected = top_k_accuracy_score(labels.numpy(), scores, k=k, labels=range(classes))
    assert top_k(logits, labels, k) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(predictions, st.integers(1, 20))
def test_calibration_error_equals_its_definition(drawn: tuple[Tensor, Tensor], bins: int) -> None:
    logits, labels = drawn
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    total = 0.0
    for number in range(bins):
        inside = [i for i, c in enumerate(confidence.tolist()) if number / bins < c <= (number + 1) / bins]
        if inside:
            accuracy = sum(int(predicted[i] == labels[i]) for i in inside) / len(inside)
            total += len(inside) / len(labels) * abs(accuracy - sum(confidence[i].item() for i in inside) / len(inside))
    assert calibration_error(logits, labels, bins) == pytest.approx(total, abs=1e-12)


def test_calibration_error_of_certain_predictions_is_their_error() -> None:
    logits = torch.tensor([[100.0, 0.0], [100.0, 0.0], [0.0, 100.0], [0.0, 100.0]])
    assert calibration_error(logits, torch.tensor([0, 0, 1, 0])) == pytest.approx(0.25)
    assert calibration_error(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])) == pytest.approx(0.0)


@pytest.mark.parametrize("call", [lambda: top_k(*_drawn(0, 2, 2), k=0), lambda: calibration_error(*_drawn(0, 2, 2), 0)])
def test_metrics_with_invalid_arguments_raise(call: object) -> None:
    with pytest.raises(InvalidArgument, match="=0: expected a whole number, at least 1"):
        call()  # type: ignore[operator]
