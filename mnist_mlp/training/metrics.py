"""Additional metrics of a run: the ones that the project ships, and their evaluation after each epoch."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mnist_mlp.base.errors import InvalidArgument
from mnist_mlp.base.metrics import Metric
from mnist_mlp.base.record import Metrics
from mnist_mlp.data.splits import Split, Splits
from mnist_mlp.training.loop import EVALUATION_BATCH
from mnist_mlp.training.process import training_settings
from mnist_mlp.training.seeds import kept_generators

log = logging.getLogger(__name__)

ROUNDING = 1e-6  # by which a value may exceed its bounds, in single precision
LONGEST = 300  # characters of the message of a user-defined function

Function = Callable[[Tensor, Tensor], Any]  # from logits (images, classes) and labels (images,) to a number


def top_k(logits: Tensor, labels: Tensor, k: int = 2) -> float:
    """Return the fraction of images whose label is among the k classes with the largest logits.

    Args:
        logits: Floats of shape (images, classes).
        labels: Classes, int64 of shape (images,).
        k: Number of classes, at least 1.

    Raises:
        InvalidArgument: k is less than 1.
    """
    if k < 1:
        raise InvalidArgument("k", k, "a whole number, at least 1")
    best = logits.topk(min(int(k), logits.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(dim=1).double().mean().item()


def calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy, in [0, 1].

    The confidence of a prediction is its softmax probability. Images are grouped by confidence into bins of equal
    width, (0, 1/bins] up to (1 - 1/bins, 1]. The gaps of the bins are averaged with their numbers of images as weights
    (Guo, Pleiss, Sun and Weinberger 2017, equation 3).

    Args:
        logits: Floats of shape (images, classes).
        labels: Classes, int64 of shape (images,).
        bins: Number of bins, at least 1.

    Raises:
        InvalidArgument: There is no bin.
    """
    if bins < 1:
        raise InvalidArgument("bins", bins, "a whole number, at least 1")
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    gaps = (predicted == labels).double() - confidence
    index = (confidence * bins).ceil().long().clamp(1, int(bins)) - 1
    return torch.zeros(int(bins), dtype=torch.float64).index_add_(0, index, gaps).abs().sum().item() / len(labels)


def macro_f1(logits: Tensor, labels: Tensor) -> float:
    """Return the F1 score averaged over the classes, each with the same weight, in [0, 1].

    F1 is the harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN). A class without images that is never
    predicted has no score and is left out.

    Args:
        logits: Floats of shape (images, classes).
        labels: Classes, int64 of shape (images,).
    """
    classes = logits.shape[1]
    predicted = logits.argmax(dim=1)
    hits = labels[predicted == labels].bincount(minlength=classes).double()
    either = (predicted.bincount(minlength=classes) + labels.bincount(minlength=classes)).double()
    return (2 * hits[either > 0] / either[either > 0]).mean().item()


class MetricEvaluator:
    """Observer of a run that adds its additional metrics (see `mnist_mlp.base.record.Observer`).

    A metric that raises, or that returns a value other than a number within its bounds, has no value for that epoch.
    The run goes on, with one warning per metric.

    Args:
        functions: Function of each metric, by its name. It gets all logits and labels of a split, as copies on the CPU.
        metrics: Meaning of each metric, by its name.
        code: Digests of the user-defined modules of each metric (see `mnist_mlp.base.provenance.code_digests`).
        model: Model in training.
        data: Splits; the validation and test images are evaluated.
        threads: Number of CPU threads.
        tf32: See `mnist_mlp.training.train`.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        metrics: Mapping[str, Metric],
        code: Mapping[str, Mapping[str, str]],
        model: nn.Module,
        data: Splits,
        threads: int,
        tf32: bool,
    ) -> None:
        self._functions, self._metrics, self._code = functions, metrics, code
        self._model, self._splits = model, {"val": data.val, "test": data.test}
        self._settings = threads, tf32
        self._failed: dict[str, str] = {}

    def add(self, record: Metrics) -> Metrics:
        """Return the record with the additional metrics of its split; those of the training split are undefined."""
        split = self._splits.get(record.split)
        if split is None or not math.isfinite(record.loss):
            return record
        with training_settings(*self._settings), kept_generators():
            logits, labels = predict(self._model, split)
            values = [self._value(name, logits.clone(), labels.clone(), record) for name in self._functions]
        return record._replace(metrics=tuple(values))

    def _value(self, name: str, logits: Tensor, labels: Tensor, record: Metrics) -> float:
        try:
            value, (low, high) = float(self._functions[name](logits, labels)), self._metrics[name].bounds
            within = min(max(value, low), high)
            if math.isfinite(value) and math.isclose(value, within, rel_tol=ROUNDING, abs_tol=ROUNDING):
                return within
            why = f"{value:g} is not a number in [{low:g}, {high:g}]"
        except (Exception, SystemExit) as error:  # the function may be user-defined code
            why = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
        if name not in self._failed:
            self._failed[name] = f"{record.split}, epoch {record.epoch}: {why}"
            log.warning("metrics.%s has no value (%s)", name, self._failed[name])
        return math.nan

    def facts(self) -> Mapping[str, Any]:
        """Return the entry of `run.json`: the code of each metric, and why its first missing value is missing."""
        about = {name: {"code": dict(self._code[name]), "failed": self._failed.get(name)} for name in self._functions}
        return {"metrics": about}


@torch.no_grad()
def predict(model: nn.Module, split: Split) -> tuple[Tensor, Tensor]:
    """Return the logits of a split in evaluation mode, floats of shape (images, classes), and its labels, on the CPU.

    The model is left in its mode.
    """
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    parts = [split.take(slice(start, start + EVALUATION_BATCH)) for start in range(0, len(split), EVALUATION_BATCH)]
    logits = torch.cat([model(images.to(device)).cpu() for images, _ in parts])
    model.train(was_training)
    return logits, torch.cat([labels.cpu() for _, labels in parts])
