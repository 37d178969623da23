"""Schema of the configuration: types, ranges, units, roles, and validation.

The dataclasses give types to the configuration that Hydra composes. The groups (`data`, `model`, `init`, `optim`,
`schedule`) are open: besides the keys listed here, they accept all arguments of their `_target_`. A user-defined
optimizer therefore needs no schema. `mnist_mlp.build.from_config` checks its arguments against the signature.
"""

import difflib
import json
import math
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

from omegaconf import MISSING

from mnist_mlp.base.errors import ConfigError

BOUNDS = {"ge": ", at least {}", "gt": " greater than {}", "le": ", at most {}", "lt": " less than {}"}  # by operator
ENDS = {"ge": "[{}", "gt": "({}", "le": "{}]", "lt": "{})"}  # of an interval

NO_WEIGHTS, LAST, BEST, EPOCHS = "none", "last", "best", "epochs"  # values of `save`
CHANGED = "changed"  # value of `force`: retrain finished jobs only if their code, data or version has changed


class Role(Enum):
    """Role of a key in the comparison of runs. It decides what job hashes contain, and which sections a report has."""

    REPLICATE = "replicate"  # a seed, whose values repeat a measurement
    TUNABLE = "tunable"  # a hyperparameter; of several values, the best by validation is selected
    CONDITION = "condition"  # an evaluation condition; each value is a section of the report, and none is selected
    OUTPUT = "output"  # what a run leaves behind in addition, without effect on its other results
    IRRELEVANT = "irrelevant"  # paths, display or hardware, without effect on results

    @property
    def is_decisive(self) -> bool:
        """True if keys of this role can change a result."""
        return self not in (Role.OUTPUT, Role.IRRELEVANT)


def setting(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    among: Sequence[Any] = (),
    role: Role | None = None,
) -> Any:
    """Return a dataclass field with its meaning, range and role. The range of a list applies to each element.

    Args:
        default: Default value; `MISSING` if the schema has none, as for keys that only some options of a group have.
        help: One line for `--help`.
        ge: Inclusive minimum.
        gt: Exclusive minimum.
        le: Inclusive maximum.
        lt: Exclusive maximum.
        among: All valid values; empty if type and range determine them.
        role: Role of the key; None for the role of its group: condition for `data`, tunable for the other groups.
            Output keys and irrelevant keys are not part of a job's identity, since they change a result by rounding at
            most.
    """
    metadata = {"help": help, "ge": ge, "gt": gt, "le": le, "lt": lt, "among": among, "role": role}
    return field(default=default, metadata=metadata)


@dataclass
class DataConfig:
    """A data set and its split; additional keys are arguments of the target."""

    _target_: str = setting(MISSING, "function that returns a mnist_mlp.data.Dataset")
    root: str = setting(MISSING, "directory of the data files", role=Role.IRRELEVANT)
    train_size: int | None = setting(None, "number of training images; null for all except the validation split", ge=1)
    val_size: int = setting(5000, "number of training images held out for validation; 0 for none", ge=0)
    split_seed: int = setting(0, "seed of the validation split, independent of `seed`", ge=0, lt=2**63)
    normalize: bool = setting(
        False, "standardize pixels by mean and standard deviation of the training images", role=Role.TUNABLE
    )


@dataclass
class ModelConfig:
    """A network; additional keys are arguments of the target, which also gets `in_features` and `out_features`."""

    _target_: str = setting(MISSING, "torch.nn.Module class, or function that returns one")
    hidden: list[int] = setting(MISSING, "widths of the hidden layers; may be empty", ge=1, lt=2**20)  # noqa: RUF009
    activation: str = setting(MISSING, "activation after each hidden layer: a name, or the dotted path of a module")
    batch_norm: bool = setting(MISSING, "batch normalization before each activation")
    dropout: float = setting(MISSING, "probability of dropping a hidden unit", ge=0, lt=1)
    input_dropout: float = setting(MISSING, "probability of dropping an input pixel", ge=0, lt=1)


@dataclass
class InitConfig:
    """A weight initializer (see `mnist_mlp.network.initialize`); additional keys are arguments of the target."""

    _target_: str = setting(MISSING, "in-place initializer, as those of torch.nn.init")
    _partial_: bool = setting(True, "always true: the weight is passed later", role=Role.IRRELEVANT)
    bias: str = setting("default", "biases: default (uniform within 1/sqrt(fan_in), as in PyTorch), zeros or normal")
    bias_std: float | None = setting(None, "standard deviation of the biases if init.bias=normal", gt=0)
    distribution: str = setting(MISSING, "uniform or normal")
    std: float = setting(MISSING, "standard deviation of the weights", gt=0)


@dataclass
class OptimConfig:
    """An optimizer; additional keys are arguments of the target."""

    _target_: str = setting(MISSING, "torch.optim.Optimizer class, or function that returns one")
    _partial_: bool = setting(True, "always true: the parameters are passed later", role=Role.IRRELEVANT)
    lr: float = setting(MISSING, "learning rate", gt=0)
    decay_biases: bool = setting(
        True, "apply weight decay to biases and BatchNorm scales too, not only to weight matrices"
    )


@dataclass
class ScheduleConfig:
    """A learning-rate schedule; additional keys are arguments of the target."""

    _target_: str = setting(MISSING, "function from progress in [0, 1] to a factor of the learning rate")
    _partial_: bool = setting(True, "always true: the progress is passed later", role=Role.IRRELEVANT)
    warmup: float = setting(0.0, "fraction of the run with a linear warm-up of the learning rate", ge=0, le=1)


@dataclass
class SeedsConfig:
    """Seeds of individual random streams; null uses `seed`."""

    weights: int | None = setting(None, "seed of the weights only; null uses `seed`", ge=0)
    batches: int | None = setting(None, "seed of the batch order only; null uses `seed`", ge=0)
    dropout: int | None = setting(None, "seed of dropout only; null uses `seed`", ge=0)
    modules: int | None = setting(None, "seed of random modules other than dropout; null uses `seed`", ge=0)


MORE, LESS = "more", "less"  # values of `metrics.NAME.better`


@dataclass
class MetricConfig:
    """An additional metric; additional keys are arguments of the target."""

    _target_: str = setting(MISSING, "function from logits (images, classes) and labels (images,) to a number")
    better: str = setting(MORE, "whether more or less is better", among=(MORE, LESS))
    worst: float | None = setting(None, "score of a diverged run; null takes the worse end of the bounds")
    bounds: list[float | None] = field(
        default_factory=lambda: [None, None], metadata={"help": "smallest and largest value; null if unbounded"}
    )


@dataclass
class Config:
    """Configuration of one run."""

    data: DataConfig = field(default_factory=DataConfig, metadata={"role": Role.CONDITION})
    model: ModelConfig = field(default_factory=ModelConfig)
    init: InitConfig = field(default_factory=InitConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    seed: int = setting(0, "seed of weights, batch order, dropout and other random modules", ge=0, role=Role.REPLICATE)
    seeds: SeedsConfig = field(default_factory=SeedsConfig, metadata={"role": Role.REPLICATE})
    epochs: int = setting(10, "passes over the training images; 0 only evaluates", ge=0, lt=2**31, role=Role.CONDITION)
    batch_size: int = setting(32, "images per step", ge=1, lt=2**31)
    log_interval: int = setting(200, "training steps between rows of steps.csv", ge=1, lt=2**31, role=Role.IRRELEVANT)
    device: str = setting("auto", "auto (cuda, else mps, else cpu), cpu, cuda, cuda:N or mps", role=Role.IRRELEVANT)
    threads: int = setting(1, "CPU threads; more do not speed up small networks", ge=1, lt=1025, role=Role.IRRELEVANT)
    tf32: bool = setting(  # a condition: it changes results, but is not tuned for accuracy
        False,
        "use TensorFloat-32 for matmuls on a GPU: faster, 10-bit mantissa",
        role=Role.CONDITION,
    )
    save: str = setting(
        NO_WEIGHTS,
        "weights to keep: none, last (epoch), best (epoch by validation accuracy) or epochs (all)",
        among=(NO_WEIGHTS, LAST, BEST, EPOCHS),
        role=Role.OUTPUT,
    )
    metrics: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": "additional metrics of the validation and test images, such as [top2,macro_f1]",
            "role": Role.OUTPUT,
        },
    )
    progress: bool = setting(True, "show the progress of runs and sweeps", role=Role.IRRELEVANT)
    force: bool | str = setting(
        False,
        "retrain finished jobs: true retrains all, changed only those whose code, data or version differs now",
        among=(False, True, CHANGED),
        role=Role.IRRELEVANT,
    )
    fail_fast: bool = setting(False, "start no more jobs of a sweep after one has failed", role=Role.IRRELEVANT)
    dry_run: bool = setting(False, "list the jobs of a sweep without training them", role=Role.IRRELEVANT)


KEYS = tuple(f.name for f in fields(Config))
SOURCES = tuple(f.name for f in fields(SeedsConfig))
COMPARED = ("init", "optim")  # by default, each combination of these keys' values is a cell
GROUPS = tuple(f.name for f in fields(Config) if hasattr(f.default_factory, "_target_"))  # selected by GROUP=OPTION
MAPPINGS = ("seeds", "metrics")  # keys other than groups whose values are mappings
LEARNING_RATE = "optim.lr"
HIDDEN = "model.hidden"
DERIVED = ("depth", "width")  # compared like keys, but derived from `HIDDEN` (see `mnist_mlp.analysis.derived`)
EXPERIMENT = "experiment"  # Hydra group of the studies; not part of the schema


def expectation(setting_: Field[Any]) -> str:
    """Return the part of a message that says which values a field expects, such as "a whole number, at least 1"."""
    if among := setting_.metadata.get("among"):
        values = [json.dumps(value).strip('"') for value in among]
        return " or ".join(values) if len(values) < 4 else f"one of {', '.join(values)}"
    kinds: dict[Any, str] = {
        int: "a whole number",
        int | None: "null or a whole number",
        float: "a number",
        float | None: "null or a number",
        bool: "true or false",
        str: "a string",
        list[int]: "a list such as [512,256] of whole numbers",
        dict[str, Any]: "a list of options such as [top2,macro_f1]",
        SeedsConfig: f"{{KEY:SEED}}, with any of the keys {', '.join(SOURCES)}",
    }
    return kinds.get(setting_.type, "settings {KEY:VALUE}") + _range(_limits(setting_.metadata))


def _limits(meta: Mapping[str, Any]) -> dict[str, float]:
    return {key: meta[key] for key in BOUNDS if meta.get(key) is not None}


def _range(limits: Mapping[str, float]) -> str:
    """Return limits for messages: " in [0, 1)", ", at least 1" or " greater than 0"; empty without limits."""
    if len(limits) < 2:
        return "".join(BOUNDS[key].format(limit) for key, limit in limits.items())
    return " in " + ", ".join(ENDS[key].format(limit) for key, limit in limits.items())


def _within(value: float, meta: Mapping[str, Any]) -> bool:
    return (isinstance(value, int) or math.isfinite(value)) and all(
        getattr(operator, key)(value, limit) for key, limit in _limits(meta).items()
    )


def find_setting(key: str) -> Field[Any] | None:
    """Return the field of a dotted key such as `optim.lr`; None if the schema has no such key."""
    node: Any = Config
    found = None
    for part in key.split("."):
        found = {f.name: f for f in fields(node)}.get(part) if is_dataclass(node) else None
        node = found and found.default_factory
    return found


def check(config: Mapping[str, Any]) -> None:
    """Check a composed configuration for unknown keys and values out of range.

    Args:
        config: Plain configuration; keys with the value `MISSING` count as absent.

    Raises:
        ConfigError: A key is unknown or a value is invalid; the message names the first one.
    """
    _check(config, Config, prefix="")


def _check(config: Mapping[str, Any], schema: type, prefix: str) -> None:
    known = [f"{prefix}{f.name}" for f in fields(schema)]
    for key, value in config.items():
        if f"{prefix}{key}" in known:
            continue
        if prefix[:-1] not in GROUPS:
            raise ConfigError(unknown_key(f"{prefix}{key}", value, known))
        if not _has_texts_as_keys(value):
            raise ConfigError(f"{prefix}{key}={value}: expected string keys, such as {{'1':2}}")
    for f in fields(schema):
        value = config.get(f.name, MISSING)
        if is_dataclass(f.default_factory):
            _check({} if value == MISSING else value, f.default_factory, prefix=f"{f.name}.")
            continue
        elements = value if isinstance(value, list) else [value]
        numbers = [e for e in elements if isinstance(e, int | float) and not isinstance(e, bool)]
        is_nested = any(isinstance(e, list) for e in elements)
        among = f.metadata.get("among") or elements
        is_listed = all(any(type(e) is type(one) and e == one for one in among) for e in elements)
        if is_nested or not is_listed or not all(_within(number, f.metadata) for number in numbers):
            hint = f", not the string {value!r}" if not is_listed and isinstance(value, str) else ""
            raise ConfigError(f"{prefix}{f.name}={value}: expected {expectation(f)}{hint}")
    if prefix in ("", "data."):  # elsewhere a key may be absent: the target's own default applies
        required = (f.name for f in fields(schema) if f.default is not MISSING and not is_dataclass(f.default_factory))
        if missing := [name for name in required if name not in config]:
            raise ConfigError(f"~{prefix}{missing[0]}: expected an optional key. This one is required.")


def _has_texts_as_keys(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_has_texts_as_keys, value))
    return not isinstance(value, Mapping) or all(isinstance(k, str) and _has_texts_as_keys(v) for k, v in value.items())


def unknown_key(key: str, value: object, known: Sequence[str], noun: str = "key") -> str:
    """Return the message for an unknown key, with the most similar known key as a hint.

    Args:
        key: Unknown key.
        value: Value that the key was given; `MISSING` omits it from the message.
        known: Known keys, which the message lists.
        noun: Noun for the key, such as "optimizer" for an unknown optimizer.
    """
    paths = [path for path, _ in describe()]
    ending = next((f" Did you mean {path}?" for path in paths if path.endswith(f".{key}")), "")
    hint = ("." in key and nearest(key, paths)) or nearest(key.partition(".")[0], known) or ending
    return _unknown_message(key, value, noun, hint, known)


def unknown_argument(group: str, key: str, value: object, arguments: Sequence[str]) -> str:
    """Return the message for a key of a group that is neither an argument of the target nor a setting of all options.

    Args:
        group: Name of the group.
        key: Unknown key, without the group.
        value: Value that the key was given.
        arguments: Arguments of the target.
    """
    known = list(dict.fromkeys([*arguments, *_common_settings(group)]))
    hint = nearest(key, known, f"{group}.")
    return _unknown_message(f"{group}.{key}", value, "key", hint, [f"{group}.{name}" for name in known])


def _common_settings(group: str) -> list[str]:
    """Return the settings that every option of a group has, besides the arguments of its target."""
    tree = (
        MetricConfig
        if group.startswith("metrics.")
        else next(f.default_factory for f in fields(Config) if f.name == group)
    )
    assert is_dataclass(tree)
    return [f.name for f in fields(tree) if f.default is not MISSING and not f.name.startswith("_")]


def _unknown_message(key: str, value: object, noun: str, hint: str, known: Sequence[str]) -> str:
    given = key if value == MISSING else f"{key}={value}"
    return f"{given}: unknown {noun}.{hint} Known {noun}s: {', '.join(known) or 'none'}"


def nearest(word: str, known: Sequence[str], prefix: str = "") -> str:
    """Return a hint such as " Did you mean optim.lr?", the most similar known word with a prefix; empty without any."""
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {prefix}{near[0]}?" if near else ""


def tuning_order(keys: Iterable[str]) -> list[str]:
    """Return tuned keys in their order: the learning rate, then the others by name."""
    return sorted(keys, key=lambda key: (key != LEARNING_RATE, key))


def role_of(key: str) -> Role:
    """Return the role of a dotted key.

    A key that the schema lacks is an argument of a target, and has the role of its group: an argument of `data` is a
    condition; any other argument is tunable.
    """
    for name in (key, key.partition(".")[0]):
        found = find_setting(name)
        role = found.metadata.get("role") if found else None
        if isinstance(role, Role):
            return role
    return Role.TUNABLE


def conflict(keys: Collection[str]) -> str:
    """Return why compared keys exclude each other, to follow a colon; empty if they do not."""
    return f"expected either {HIDDEN} or {' and '.join(DERIVED)}" if HIDDEN in keys and {*keys} & {*DERIVED} else ""


def describe() -> Iterator[tuple[str, str]]:
    """Yield each key of the schema with its meaning, for `--help`."""
    for f in fields(Config):
        if is_dataclass(f.default_factory):
            for sub in fields(f.default_factory):
                if not sub.name.startswith("_"):
                    yield f"{f.name}.{sub.name}", sub.metadata["help"]
        else:
            yield f.name, f.metadata["help"]
