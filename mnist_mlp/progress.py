"""What a run shows while it trains: a bar where the output is a terminal, and one line an epoch."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mnist_mlp.record import Metrics, Record

log = logging.getLogger(__name__)


def shown(records: Iterable[Record], epochs: int, steps: int, bar: bool) -> Iterator[Record]:
    """Pass records on, showing how far they are.

    Args:
        records: what `mnist_mlp.train.train` yields.
        epochs: how many there will be.
        steps: how many training steps there will be.
        bar: whether to draw a progress bar; it is drawn on a terminal only.
    """
    line: list[str] = []
    on_terminal = bar and sys.stderr.isatty()
    with (
        logging_redirect_tqdm() if on_terminal else nullcontext(),
        tqdm(total=steps, unit="step", disable=not on_terminal, leave=False) as meter,
    ):
        for record in records:
            meter.update(record.step - meter.n)
            if isinstance(record, Metrics):
                line.append(f"{record.split} {record.loss:.4f} ({record.accuracy:.2%})")
                if record.split == "test":  # the last of its epoch
                    log.info("epoch %d/%d  %s  %.1f s", record.epoch, epochs, "  ".join(line), record.seconds)
                    line.clear()
            yield record
