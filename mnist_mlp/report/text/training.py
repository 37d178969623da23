"""Description of the training: data, epochs, network and schedule."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.load import ENVIRONMENT
from mnist_mlp.analysis.notes import list_names, shorten_all
from mnist_mlp.analysis.roles import evaluation_runs, search_runs
from mnist_mlp.analysis.sources import join_words
from mnist_mlp.analysis.values import as_text, as_typed
from mnist_mlp.base.schema import DERIVED

MLP = re.compile(r"mnist_mlp\.(\w+\.)*MLP")  # the class name may include its module
LONGEST_NAME = 60  # characters of a machine name
ACTIVATION_NAMES = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "selu": "SELU",
    "silu": "SiLU",
}


def trained(comparison: Comparison, search: bool = False) -> str:
    """Describe the network, its data and its training.

    An example is "trained on 55,000 images of mnist for 3 epochs (MLP with 784 inputs, 2 hidden layers (512, 256) and
    10 outputs, BatchNorm, ReLU; batch size 32)". Keys whose values differ between runs are listed without values.

    Args:
        comparison: Comparison of the runs.
        search: Whether to describe the runs of the selection, instead of those that may be scored.
    """
    runs = (search_runs if search else evaluation_runs)(comparison.runs)
    images, epochs, batch = (_one(runs, column) for column in ("train_size", "epochs", "batch_size"))
    of = f"{number(images, 'image')} of " if images is not None else ""
    text = f"trained on {of}{' and '.join(sorted(map(str, runs['data'].unique())))}"
    text += f" for {number(epochs, 'epoch')}" if epochs is not None else ""
    details = [
        ", ".join(_network(runs)),
        f"batch size {as_typed(batch)}" if batch is not None else "",
        *_schedule(runs),
    ]
    groups = ("epochs", "batch_size", "model", *DERIVED, "schedule", "data")
    described = [key for key in comparison.varying if key.partition(".")[0] in groups]
    tuned = [key for key in described if key in comparison.tuned and key not in comparison.by]
    compared = [key for key in described if key in comparison.by]
    rest = [key for key in described if key not in (*tuned, *compared)]
    for what, keys in (("compared", compared), ("tuned", tuned), ("not the same in all runs", rest)):
        details.append(f"{what}: {', '.join(keys)}" if keys else "")
    given = "; ".join(filter(None, details))
    return f"{text} ({given})" if given else text


def _layers(widths: Sequence[int]) -> str:
    """Describe hidden layers of these widths."""
    if not widths:
        return "no hidden layer"
    units = f" of {number(widths[0], 'unit')}" if len({*widths}) == 1 else f" ({', '.join(map(str, widths))})"
    return f"{number(len(widths), 'hidden layer')}{units}"


def sentence(text: str) -> str:
    """Return text as a sentence, with a capital letter and a period."""
    return f"{text[0].upper()}{text[1:]}."


def number(count: float, noun: str) -> str:
    """Format a count with its noun, such as "1 epoch" or "55,000 images"."""
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"


def origin(runs: pd.DataFrame) -> str:
    """Return a sentence with the number of runs, machines, dates and hours of work."""
    facts = [runs[column] for column in (f"{ENVIRONMENT}cpu", f"{ENVIRONMENT}device") if column in runs]
    names = [as_text(fact) for of in facts for fact in sorted(of.dropna().unique(), key=str) if fact != "cpu"]
    machines = shorten_all(names, LONGEST_NAME, tail=0)
    days = sorted(
        {f"{datetime.fromtimestamp(ended, UTC):%Y-%m-%d}" for ended in (runs["ended"].min(), runs["ended"].max())}
    )
    hours = runs["wall_seconds"].sum() / 3600
    return (
        f"{number(len(runs), 'run')}{f' by {list_names(machines)}' if machines else ''}, ended {' to '.join(days)}"
        f"{f', {hours:.1f} hours of work' if hours >= 0.1 else ''}."
    )


def _one(runs: pd.DataFrame, column: str) -> Any:
    """Return the common value of all runs; None if they differ or it is unknown."""
    values: Sequence[Any] = list(runs[column].dropna().unique()) if column in runs.columns else []
    return values[0] if len(values) == 1 else None


def _schedule(runs: pd.DataFrame) -> Iterator[str]:
    """Describe the learning-rate schedule that all runs share, unless it is constant without warm-up.

    A warm-up of one step starts at the full rate, so fewer than two steps count as no warm-up.
    """
    schedule, warmup = _one(runs, "schedule"), _one(runs, "schedule.warmup")
    if schedule not in (None, "constant"):
        yield f"schedule {schedule}"
    if warmup:
        is_without = (runs["steps"] * warmup).round() < 2
        if is_without.all():
            yield f"no warm-up, as {100 * warmup:g}% of the steps is less than two steps"
        else:
            yield f"warm-up over {100 * warmup:g}% of the steps{', in some runs' if is_without.any() else ''}"


def _network(runs: pd.DataFrame) -> Iterator[str]:
    target, hidden = _one(runs, "model._target_"), _one(runs, "model.hidden")
    if not (target and MLP.fullmatch(target)):
        yield from [target] if target else []
        return
    inputs, classes, activation, dropout = (
        _one(runs, column) for column in ("inputs", "classes", "model.activation", "model.dropout")
    )
    widths: list[int] | None = None
    with suppress(TypeError, ValueError):  # unknown, or of a user-defined network
        widths = [int(width) for width in json.loads(hidden)]
    parts = [number(inputs, "input")] if inputs is not None else []
    parts += [_layers(widths)] if widths is not None else []
    parts += [number(classes, "output")] if classes is not None else []
    yield f"MLP with {join_words(parts)}" if parts else "MLP"
    input_dropout = _one(runs, "model.input_dropout")
    yield from [f"input dropout {as_typed(input_dropout)}"] if input_dropout else []
    if widths != []:
        yield from ["BatchNorm"] if _one(runs, "model.batch_norm") in (True, np.True_) else []
        yield from [ACTIVATION_NAMES.get(activation, str(activation))] if activation else []
        yield from [f"dropout {as_typed(dropout)}"] if dropout else []
