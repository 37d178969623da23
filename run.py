"""Train one network, or with -m a sweep of them: compose the configuration, build its parts, train."""

from mnist_mlp.interrupts import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before all else, as importing takes a while

from mnist_mlp.startup import importing

with importing():
    import logging
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    import hydra
    from omegaconf import DictConfig

    from mnist_mlp import cli, sweep
    from mnist_mlp.environment import environment
    from mnist_mlp.record import Record, RunWriter

log = logging.getLogger(__name__)

sweep.register(experiments=Path(__file__).parent / "experiments")


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """Run one job."""
    return sweep.run_job(config, train_one)


def train_one(config: Mapping[str, Any], writer: RunWriter) -> None:
    """Build what a plain configuration names, train it, and write down every record.

    Raises:
        mnist_mlp.record.Diverged: a loss was not finite.
    """
    with importing():  # late, as it takes seconds that `--help` need not wait for
        import torch

        from mnist_mlp import packing, stacked
        from mnist_mlp.build import build, find_device
        from mnist_mlp.cpu.products import library
        from mnist_mlp.data import batch_sizes
        from mnist_mlp.progress import shown
        from mnist_mlp.step import is_known
        from mnist_mlp.train import train

    device = find_device(config["device"])
    writer.describe(environment=environment(str(device), config["threads"]))
    parts = build(config, torch.device("cpu"))
    records: Iterator[Record]
    if device.type == "cuda" and stacked.suits(parts.model, parts.optimizer):
        writer.describe(**parts.facts(), **packing.facts(1))
        records = packing.train_alone(parts, config, device)
    else:
        if device.type != "cpu":
            parts = build(config, device)
        step = f"single passes, products by {library()}" if is_known(parts.model, parts.optimizer) else "autograd"
        if step == "autograd" and device.type == "cpu":
            log.info("trained by autograd, as this network or optimizer is not among those that are computed faster")
        writer.describe(**parts.facts(), step=step)
        records = train(
            parts.model,
            parts.optimizer,
            parts.data,
            epochs=config["epochs"],
            batch_size=config["batch_size"],
            generator=torch.Generator().manual_seed(parts.seeds.batches),
            dropout_seed=parts.seeds.dropout,
            modules_seed=parts.seeds.modules,
            log_interval=config["log_interval"],
            threads=config["threads"],
            tf32=config["tf32"],
        )
    steps = config["epochs"] * len(batch_sizes(len(parts.data.train), config["batch_size"]))
    for record in shown(records, config["epochs"], steps, config["progress"]):
        writer.write(record)


if __name__ == "__main__":
    cli.call(main)
