"""Report on sweeps: tables, figures, and a page that opens offline."""

import argparse
import sys
from pathlib import Path

from mnist_mlp.base.errors import UserError, in_words
from mnist_mlp.base.startup import escape_unencodable_output
from mnist_mlp.report import newest_sweep, report_on


def main() -> None:
    """Parse the command line and write one report."""
    escape_unencodable_output()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sweeps", nargs="*", type=Path, metavar="SWEEP_DIR", help="sweep directories, reported together [the newest]"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="report directory [reports/<sweep>]")
    parser.add_argument(
        "--target",
        type=float,
        metavar="ACCURACY",
        help="report the time to this accuracy, a fraction [0.97 on MNIST; none on other data]",
    )
    parser.add_argument(
        "--by",
        type=lambda text: text.split(","),
        metavar="KEY[,KEY...]",
        help="keys to compare, such as batch_size or init,epochs; others are tuned or define sections [as the sweep]",
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE[,VALUE...]",
        help="report only the runs with these values of a compared key or a condition; may be repeated [all runs]",
    )
    parser.add_argument(
        "--select",
        choices=["each", "once"],
        help="mode of selection: each (per seed) or once (per cell, by the mean over seeds) [as the sweep]",
    )
    parser.add_argument(
        "--at",
        choices=["last", "best"],
        default="last",
        help="epoch whose test accuracy is compared: the last, or that with the best validation accuracy [last]",
    )
    parser.add_argument(
        "--metric",
        default="accuracy",
        metavar="NAME",
        help="metric of the test images that is compared: the accuracy, or one that the runs have evaluated by the key "
        "metrics; configurations are selected by the accuracy in any case [accuracy]",
    )
    parser.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="equivalence margin in percentage points: differences shown to be smaller are equivalent [as the sweep]",
    )
    parser.add_argument(
        "--format",
        action="append",
        default=[],
        choices=["pdf", "eps"],
        help="additional format of the figures; may be repeated [PNG and SVG only]",
    )
    parser.add_argument(
        "--width",
        choices=["column", "page"],
        help="width of the figures' files in a paper: one or two columns (3.25 or 6.75 inches) [natural width]",
    )
    arguments = parser.parse_args()
    try:
        report_on(
            arguments.sweeps or [newest_sweep()],
            arguments.out,
            arguments.target,
            arguments.by,
            arguments.format,
            select=arguments.select,
            where=arguments.where,
            margin=None if arguments.margin is None else arguments.margin / 100,
            width=arguments.width,
            at=arguments.at,
            metric=arguments.metric,
        )
    except (UserError, OSError) as error:
        from mnist_mlp.report.text.escape import visible  # imports pandas, which `--help` does without

        sys.exit(f"error: {visible(in_words(error))}")


if __name__ == "__main__":
    main()
