"""Trial of a configuration: build its objects, and take one training step on a few images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from mnist_mlp.base import schema
from mnist_mlp.base.errors import ConfigError, InvalidArgument
from mnist_mlp.build.from_config import TRIAL_IMAGES, Parts, build, find_device, make_optimizer, total_steps
from mnist_mlp.build.instantiate import explain_errors
from mnist_mlp.build.outputs import metric_functions
from mnist_mlp.build.rate_check import Values, follows_rates
from mnist_mlp.training.optimizers import set_mode
from mnist_mlp.training.process import training_settings
from mnist_mlp.training.schedules import Schedule, constant
from mnist_mlp.training.step import Step, make_step


def check(config: Mapping[str, Any]) -> Parts:
    """Build the parts of a run on the CPU, and try the schedule and one training step.

    Args:
        config: Plain configuration.

    Returns:
        The parts, after the step.

    Raises:
        mnist_mlp.base.errors.UserError: The parts cannot be built, or do not work together.
    """
    return run_trial(config).parts


class Trial(NamedTuple):
    """Result of a trial.

    Attributes:
        parts: Parts of the run, on the CPU.
        step: Function that has taken one training step.
        parameters: Values and gradient of each parameter before the update; the gradient may be None.
    """

    parts: Parts
    step: Step
    parameters: Values


def run_trial(config: Mapping[str, Any]) -> Trial:
    """Check a configuration as `check` does, and return the whole trial."""
    find_device(config["device"])
    schema.check(config)
    metric_functions(config)
    with training_settings(config["threads"]):  # PyTorch's default of more threads would be slower
        return _run_trial(config)


def _run_trial(config: Mapping[str, Any]) -> Trial:
    parts = build(config, torch.device("cpu"))
    images, labels = parts.data.train.take(slice(0, TRIAL_IMAGES))
    with explain_errors("model", config["model"]):
        logits = parts.model(images)
        shape, expected = tuple(getattr(logits, "shape", ())), (len(labels), parts.data.classes)
        if shape != expected:
            allowed = f"a model that returns logits of shape {expected} for {len(labels)} images, not {shape}"
            raise InvalidArgument("_target_", config["model"]["_target_"], allowed)
    with explain_errors("optim", config["optim"]):
        step = make_step(parts.model, parts.optimizer, parts.seeds)
        set_mode(parts.optimizer, training=True)
    with explain_errors("model", config["model"]):
        step.gradients(images, labels)
    parameters = [
        (p.detach().clone(), None if p.grad is None else p.grad.detach().clone()) for p in parts.model.parameters()
    ]
    with explain_errors("optim", config["optim"]):
        step.update()
    try_schedule(parts.schedule, config, len(parts.data.train), parameters)
    return Trial(parts, step, parameters)


def try_schedule(schedule: Schedule | None, config: Mapping[str, Any], images: int, parameters: Values) -> None:
    """Check that a schedule is valid throughout the run, and that the optimizer follows it.

    Args:
        schedule: Schedule; None skips the check.
        config: Plain configuration.
        images: Number of training images.
        parameters: Values and gradient of each parameter, to try the optimizer on.

    Raises:
        ConfigError: A factor is not a number in [0, 1], or the optimizer ignores changes of the learning rate.
    """
    if not schedule:
        return
    node = config["schedule"]
    with explain_errors("schedule", node):
        is_changing = schedule.validate(total_steps(config, images))
    if is_changing and not follows_rates(lambda values: make_optimizer(config["optim"], values), parameters):
        key = "warmup" if getattr(schedule.shape, "func", None) is constant else "_target_"
        raise ConfigError(
            f"schedule.{key}={node[key]}: expected schedule=constant with schedule.warmup=0, since changes of the "
            f"learning rate after the first step have no effect on optim._target_={config['optim']['_target_']}."
        )
