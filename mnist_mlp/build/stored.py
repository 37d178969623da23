"""Models of finished runs, built from their `run.json` and saved weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mnist_mlp.base.errors import UserError
from mnist_mlp.base.reading import Unreadable, defect, read_json, read_metrics
from mnist_mlp.base.record import RUN_FILE, WEIGHTS, WEIGHTS_FILES, Metrics, validation_rank, weights_name
from mnist_mlp.base.schema import BEST, LAST
from mnist_mlp.build.instantiate import call_target
from mnist_mlp.training.weights import load_weights


def load_model(directory: str | Path, epoch: int | str = LAST) -> nn.Module:
    """Return the trained model of a run, in evaluation mode, on the CPU.

    Only the run directory is needed, not the data. The model maps images (batch, pixels), as floats, to logits
    (batch, classes).

    Args:
        directory: Run directory, trained with `save=last`, `best` or `epochs`.
        epoch: Number of the epoch; `last`; or `best`, the epoch with the highest validation accuracy (of equal ones,
            with the lowest validation loss).

    Raises:
        UserError: The run has no such weights, or a file is damaged or belongs to another run.

    Example:
        >>> from mnist_mlp import load
        >>> model = load_model(load("multirun/small").runs.index[0])
        >>> model.training
        False
    """
    directory = Path(directory)
    summary = _summary(directory)
    number = _epoch(directory, summary, epoch)
    facts = summary["data"]
    # The weights are overwritten, so the model needs no initialization and no data.
    model: nn.Module = call_target(
        "model", summary["config"]["model"], nn.Module, in_features=facts["inputs"], out_features=facts["classes"]
    )
    load_weights(directory / WEIGHTS / weights_name(number), model, summary["config_hash"])
    return model.eval()


def _summary(directory: Path) -> Mapping[str, Any]:
    path = directory / RUN_FILE
    try:
        summary = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected the record of a finished run. {error}") from error
    if why := defect(summary):
        raise UserError(f"{path}: expected the record of a finished run. It is damaged: {why}")
    if not {"inputs", "classes"} <= summary.get("data", {}).keys():
        raise UserError(f"{path}: expected the record of a finished run. It does not describe its data.")
    content: Mapping[str, Any] = summary
    return content


def _epoch(directory: Path, summary: Mapping[str, Any], epoch: int | str) -> int:
    """Return the number of an epoch whose weights exist.

    Raises:
        UserError: There are no such weights.
    """
    names = sorted(path.name for path in (directory / WEIGHTS).glob(WEIGHTS_FILES))
    if not names:
        raise UserError(f"{directory}: expected a run with weights. Train it with save=last, save=best or save=epochs.")
    try:
        wanted = summary["config"]["epochs"] if epoch == LAST else _best(directory, summary) if epoch == BEST else epoch
    except Unreadable as error:
        raise UserError(f"{directory}: {error}") from error
    if isinstance(wanted, bool) or not isinstance(wanted, int) or weights_name(wanted) not in names:
        raise UserError(f"epoch={epoch}: expected {LAST}, {BEST} or a saved epoch. {directory} has {', '.join(names)}.")
    return wanted


def _best(directory: Path, summary: Mapping[str, Any]) -> int:
    """Return the first epoch with the highest validation accuracy and, among equal ones, the lowest loss."""
    rows: list[Metrics] = [row for row in read_metrics(directory, summary) if row.split == "val"]
    if not rows:
        raise UserError(f"epoch={BEST}: expected a run with validation images")
    return max(rows, key=validation_rank).epoch
