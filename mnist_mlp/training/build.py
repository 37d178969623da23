"""From a configuration to the objects of a run, with every mistake named.

Group files name their object by `_target_`. Whatever can be wrong with one (no such name, an argument it does not
take, a value it refuses) ends in one `ConfigError` with the key, the value and what is allowed. Building is also the
check: what a job would build is built before any job starts, so no check can disagree with the run.
"""

import contextlib
import copy
import functools
import inspect
import json
import math
import pydoc
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn
from torch.optim import Optimizer

from mnist_mlp.data.batches import batch_sizes
from mnist_mlp.data.splits import Dataset, Split, Splits, make_splits
from mnist_mlp.network.init import asks_for_batch, evaluating, initialise
from mnist_mlp.run import schema
from mnist_mlp.run.environment import extra_with
from mnist_mlp.run.schema import ConfigError, InvalidArgument, UserError
from mnist_mlp.training.optimizers import set_mode
from mnist_mlp.training.process import prepared_to_train, spare_the_compiler
from mnist_mlp.training.schedules import Schedule
from mnist_mlp.training.seeds import Seeds, derive_seeds, seed_default_generators
from mnist_mlp.training.step import make_step

T = TypeVar("T")

OPTIONAL = ("generator", "batch", "layer")  # arguments that the program gives only to targets that have them
TRIAL_IMAGES = 4
INIT_IMAGES = 1000  # at most, for an initialisation that asks for a batch
SPLIT_KEYS = ("train_size", "val_size", "split_seed", "normalize")


@dataclass(frozen=True)
class Parts:
    """What one run trains: plain objects, all on `device`."""

    data: Splits
    data_digest: str
    model: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    device: torch.device
    seeds: Seeds

    def facts(self) -> dict[str, Any]:
        """What `run.json` tells of them."""
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "data": {
                "digest": self.data_digest,
                **self.data.sizes(),
                "inputs": self.data.train.images.shape[1:].numel(),
                "classes": self.data.classes,
                "commonest_test_share": _commonest_share(self.data.test),
            },
        }


def build(config: Mapping[str, Any], device: torch.device | None = None) -> Parts:
    """Build the parts of a run.

    Args:
        config: plain (see `mnist_mlp.run.schema.plain`).
        device: instead of the configured one.

    Raises:
        ConfigError: the configuration cannot work.
        mnist_mlp.run.schema.UserError: the data cannot be had.
    """
    tree = copy.deepcopy(dict(config))
    schema.check(tree)
    device = device or find_device(tree["device"])
    seeds = derive_seeds(tree["seed"])

    digest, splits = data_digest(tree["data"]), _splits(json.dumps(tree["data"], sort_keys=True))
    # A model may draw weights that `initialise` does not know; they too must depend on nothing but the seed.
    seed_default_generators(seeds.modules)
    features = splits.train.images.shape[1:].numel()
    model = _call("model", tree["model"], nn.Module, in_features=features, out_features=splits.classes)
    _check_batches(model, tree["batch_size"], len(splits.train))

    _initialise(model, tree, splits.train, torch.Generator().manual_seed(seeds.weights))
    model = model.to(device)
    spare_the_compiler()
    decays = tree["optim"].pop("decay_biases", True)
    optimizer = _call("optim", tree["optim"], Optimizer, _decayed(model, decays, tree["optim"]))
    warmup = tree["schedule"].pop("warmup")
    schedule = Schedule(_target("schedule", tree["schedule"], 0.0), warmup)
    with _explained("schedule", tree["schedule"]):
        schedule.try_out(tree["epochs"] * len(batch_sizes(len(splits.train), tree["batch_size"])))
    return Parts(splits.to(device), digest, model, optimizer, schedule, device, seeds)


def _decayed(model: nn.Module, biases: bool, optim: Mapping[str, Any]) -> list[Any]:
    """A network's parameters for an optimizer; in two groups where its weight decay leaves biases alone.

    Whatever has fewer than two dimensions counts as a bias, as BatchNorm's scales and shifts do, in the usual manner.
    """
    parameters = list(model.parameters())
    if biases:
        return parameters
    if "weight_decay" not in optim:
        raise ConfigError("optim.decay_biases=false: this optimizer is given no weight_decay; allowed is true")
    matrices, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


def _initialise(model: nn.Module, tree: dict[str, Any], train: Split, generator: torch.Generator) -> None:
    node, images = tree["init"], None
    bias, bias_std = node.pop("bias"), node.pop("bias_std", None)
    init = _target("init", node, "the weight", **dict.fromkeys(OPTIONAL))
    with _explained("init", node):
        needs_images = asks_for_batch(init)
    with prepared_to_train(tree["threads"]):
        if needs_images:
            images, _ = train.take(slice(INIT_IMAGES))
            with _explained("model", tree["model"]), evaluating(model):
                model(images[:TRIAL_IMAGES])  # so that what is wrong with the network is not taken for the init's
        with _explained("init", node):
            initialise(model, init, bias, generator, bias_std=bias_std, images=images)


def _commonest_share(split: Split) -> float:
    """The share of the commonest class, which is the accuracy of always naming it."""
    labels = split.labels if split.rows is None else split.labels[split.rows]
    return int(labels.bincount().max()) / len(split)


def check(config: Mapping[str, Any]) -> Parts:
    """Raise what `build` would raise, and try one training step on a few images; an accelerator is left alone.

    Returns:
        What was built and tried, on the CPU.

    Raises:
        mnist_mlp.run.schema.UserError: as `build`, or the parts do not fit together.
    """
    find_device(config["device"])
    parts = build(config, torch.device("cpu"))
    images, labels = parts.data.train.take(slice(0, TRIAL_IMAGES))
    with _explained("model", config["model"]):
        logits = parts.model(images)
        shape, expected = tuple(getattr(logits, "shape", ())), (len(labels), parts.data.classes)
        if shape != expected:
            allowed = f"one that gives logits of shape {expected} for {len(labels)} images, not {shape}"
            raise InvalidArgument("_target_", config["model"]["_target_"], allowed)
    with _explained("optim", config["optim"]):
        step = make_step(parts.model, parts.optimizer, parts.seeds.dropout, parts.seeds.modules)
        set_mode(parts.optimizer, training=True)
    with _explained("model", config["model"]):
        step.gradients(images, labels)
    with _explained("optim", config["optim"]):
        step.update()
    return parts


def find_device(name: str) -> torch.device:
    """The device of this name; auto takes the first of cuda, mps and cpu that is there.

    Raises:
        ConfigError: no such device here.
    """
    here = [f"cuda:{i}" for i in range(torch.cuda.device_count())] + ["mps"] * torch.backends.mps.is_available()
    here.append("cpu")
    if name == "auto":
        return torch.device(here[0])
    if name not in here and not (name == "cuda" and "cuda:0" in here):
        raise ConfigError(f"device={name}: this machine has no such device; allowed are auto, {', '.join(here)}")
    return torch.device("cuda:0" if name == "cuda" else name)


def data_digest(data: Mapping[str, Any]) -> str:
    """The digest of the data set that this plain configuration of the group `data` names.

    Raises:
        mnist_mlp.run.schema.UserError: it cannot be had.
    """
    return _dataset(json.dumps({k: v for k, v in data.items() if k not in SPLIT_KEYS}, sort_keys=True))[1]


# The jobs that one process runs mostly share their data, so the last ones used are kept. Keys are JSON, to be hashable.
@functools.lru_cache(maxsize=2)
def _dataset(data: str) -> tuple[Dataset, str]:
    dataset = _call("data", json.loads(data), Dataset)
    return dataset, dataset.digest()


@functools.lru_cache(maxsize=2)
def _splits(data: str) -> Splits:
    node = json.loads(data)
    split = {key: node.pop(key) for key in SPLIT_KEYS}
    dataset, _ = _dataset(json.dumps(node, sort_keys=True))
    with _explained("data", split):
        return make_splits(dataset, **split)


def _check_batches(model: nn.Module, batch_size: int, images: int) -> None:
    has_batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    if has_batch_norm and min(batch_size, images) < 2:
        key, value = ("batch_size", batch_size) if batch_size < 2 else ("data.train_size", images)
        raise ConfigError(f"{key}={value}: BatchNorm needs at least 2 images a batch; or set model.batch_norm=false")


def _call(group: str, node: Mapping[str, Any], kind: type[T], *args: Any, **kwargs: Any) -> T:
    """What the group's target returns, which must be of this kind."""
    target = _target(group, node, *args, **kwargs)
    with _explained(group, node):
        made = target(*args, **kwargs)
    if not isinstance(made, kind):
        raise ConfigError(
            f"{group}._target_={node['_target_']}: it returns a {type(made).__name__}; allowed is a {kind.__name__}"
        )
    return made


def _target(group: str, node: Mapping[str, Any], *args: Any, **kwargs: Any) -> functools.partial[Any]:
    """The group's target with the node's arguments, after checking that it takes them beside `args` and `kwargs`."""
    path = node.get("_target_")
    if not isinstance(path, str):
        raise ConfigError(f"{group}: it has no _target_; allowed is the dotted path of a class or function")
    try:
        target = pydoc.locate(path)  # Hydra's own look-up logs a traceback before it raises
        if target is None and (extra := extra_with(path.partition(".")[0])):
            raise ConfigError(f"{group}._target_={path}: it is not installed; pip install -e '.[{extra}]' brings it")
        if not callable(target):
            raise ImportError("there is no such class or function")
        made: functools.partial[Any] = instantiate(dict(node), _partial_=True, _convert_="all")
    except (ImportError, pydoc.ErrorDuringImport, InstantiationException) as error:
        raise ConfigError(
            f"{group}._target_={path}: {str(error).splitlines()[0]}; allowed is the dotted path of a class or function "
            f"that Python can import from here"
        ) from error
    _check_arguments(group, path, target, made.keywords, args, kwargs)
    return made


def _check_arguments(
    group: str,
    path: str,
    target: Callable[..., Any],
    ours: Mapping[str, Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    try:
        signature = inspect.signature(target)
    except ValueError:  # some built-in functions have none to look at
        return
    kwargs = {k: v for k, v in kwargs.items() if k in signature.parameters or k not in OPTIONAL}
    names = [name for name in signature.parameters if name not in kwargs][len(args) :]
    takes_anything = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for key, value in ours.items():
        if key in names:
            _check_kind(f"{group}.{key}", value, signature.parameters[key])
        elif not takes_anything:
            raise ConfigError(f"{group}.{schema.unknown_key(key, value, names)} (the arguments of {path})")
    try:
        signature.bind(*args, **kwargs, **ours)
    except TypeError as error:
        raise ConfigError(
            f"{group}._target_={path}: it cannot be called with the arguments that a {group} is given: {error}"
        ) from error


def _check_kind(key: str, value: Any, parameter: inspect.Parameter) -> None:
    """Refuse a value of another kind than the parameter's default; of a default None, than its annotation names."""
    default = parameter.default
    words = set(re.findall(r"\w+", str(parameter.annotation)))
    if value is None and (default is None or "None" in words):
        return
    if isinstance(default, bool) or (default is None and "bool" in words):
        allowed, fits = "true or false", isinstance(value, bool)
    elif isinstance(default, int | float) or (default is None and words & {"float", "int"}):
        allowed, fits = "a finite number", _is_finite_number(value)
    elif isinstance(default, tuple) and "Sequence" not in words and all(map(_is_finite_number, default)):
        allowed = f"a list of {len(default)} finite numbers"
        fits = isinstance(value, list) and len(value) == len(default) and all(map(_is_finite_number, value))
    else:
        return
    if not fits:
        raise ConfigError(f"{key}={value}: allowed is {allowed}")


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@contextlib.contextmanager
def _explained(group: str, node: Mapping[str, Any]) -> Iterator[None]:
    """Name the keys and their values where a target refuses them."""
    try:
        yield
    except UserError:
        raise
    except InvalidArgument as error:
        raise ConfigError(f"{group}.{error}") from error
    except Exception as error:  # a target may be anybody's code; HYDRA_FULL_ERROR=1 shows where in it
        settings = {k: v for k, v in node.items() if not k.startswith("_")} or {"_target_": node.get("_target_")}
        given = ", ".join(f"{group}.{k}={v}" for k, v in settings.items())
        raise ConfigError(f"{given}: this cannot be used: {type(error).__name__}: {error}") from error
