"""Train one network, or a sweep of them with -m."""

from mnist_mlp.base.interrupts import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()

from mnist_mlp.base.startup import importing

with importing():
    from pathlib import Path

    import hydra
    from omegaconf import DictConfig

    from mnist_mlp.app import cli
    from mnist_mlp.app.job import run_job
    from mnist_mlp.app.register import register

broken_studies = register(experiments=Path(__file__).parent / "experiments")


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """Run one job."""
    return run_job(config)


if __name__ == "__main__":
    cli.call(main, broken_studies)
