"""What a run shows while it trains: a bar where the output is a terminal, and one line an epoch."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mnist_mlp.record import Metrics, Record

log = logging.getLogger(__name__)


class EpochLines:
    """Logs one line an epoch.

    Args:
        epochs: how many there will be.
        log: where to.
    """

    def __init__(self, epochs: int, log: logging.Logger = log) -> None:
        self.epochs, self.log = epochs, log
        self._line: list[str] = []

    def add(self, record: Record) -> None:
        """Take notice of a run's next record."""
        if not isinstance(record, Metrics):
            return
        self._line.append(f"{record.split} {record.loss:.4f} ({record.accuracy:.2%})")
        if record.split == "test":  # the last of its epoch
            line = "  ".join(self._line)
            self.log.info("epoch %d/%d  %s  %.1f s", record.epoch, self.epochs, line, record.seconds)
            self._line.clear()


def shown(records: Iterable[Record], epochs: int, steps: int, bar: bool) -> Iterator[Record]:
    """Pass records on, showing how far they are.

    Args:
        records: what `mnist_mlp.train.train` yields.
        epochs: how many there will be.
        steps: how many training steps there will be.
        bar: whether to draw a progress bar; it is drawn on a terminal only.
    """
    lines = EpochLines(epochs)
    on_terminal = bar and sys.stderr.isatty()
    with (
        logging_redirect_tqdm() if on_terminal else nullcontext(),
        tqdm(total=steps, unit="step", disable=not on_terminal, leave=False) as meter,
    ):
        for record in records:
            meter.update(record.step - meter.n)
            lines.add(record)
            yield record
