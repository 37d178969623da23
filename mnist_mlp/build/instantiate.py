"""Call of a group's `_target_` with the group's arguments, with a message for each mistake."""

import contextlib
import inspect
import math
import pydoc
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from mnist_mlp.base import schema
from mnist_mlp.base.errors import ConfigError, InvalidArgument, InvalidData, UserError
from mnist_mlp.base.provenance import extra_with, is_user_defined

T = TypeVar("T")

RESERVED = ("_target_", "_partial_", "_recursive_", "_convert_")  # keys of a node that Hydra reads itself
_found: dict[str, Callable[..., Any]] = {}  # objects that Hydra has found, by dotted path

OPTIONAL = ("generator", "batch", "layer")  # arguments that are passed only to targets that accept them


def call_target(group: str, node: Mapping[str, Any], kind: type[T], *args: Any, **kwargs: Any) -> T:
    """Call a group's target.

    Args:
        group: Name of the group, for messages.
        node: Plain configuration of the group.
        kind: Type that the result must have.
        *args: Positional arguments besides those of the node.
        **kwargs: Keyword arguments besides those of the node.

    Raises:
        ConfigError: The target does not exist, does not accept its arguments, or returns an object of another type.
    """
    target = find_target(group, node, *args, **kwargs)
    with explain_errors(group, node):
        made = target(*args, **kwargs)
    if not isinstance(made, kind):
        raise ConfigError(
            f"{group}._target_={node['_target_']}: expected a class or function that returns {kind.__name__}, "
            f"not {type(made).__name__}"
        )
    return made


def find_target(group: str, node: Mapping[str, Any], *args: Any, **kwargs: Any) -> partial[Any]:
    """Return a group's target with the node's arguments bound, without calling it.

    Args:
        group: Name of the group, for messages.
        node: Plain configuration of the group.
        *args: Positional arguments of the later call, to check that the target accepts them.
        **kwargs: Keyword arguments of the later call, to check the same. Those in `OPTIONAL` need not be accepted.

    Raises:
        ConfigError: The target does not exist, or does not accept its arguments.
    """
    path = node.get("_target_")
    if not isinstance(path, str):
        raise ConfigError(f"{group}: expected a key _target_ with the dotted path of a class or function")
    try:
        target = pydoc.locate(path)  # Hydra's lookup would log a traceback before it raises
        if target is None and (extra := extra_with(path.partition(".")[0])):
            raise ConfigError(
                f"{group}._target_={path}: expected an installed package. Run: pip install -e '.[{extra}]'"
            )
        if not callable(target):
            raise ImportError("there is no such class or function")
        made = _with_arguments(path, target, node)
    except (ImportError, pydoc.ErrorDuringImport, InstantiationException) as error:
        raise ConfigError(
            f"{group}._target_={path}: expected the dotted path of a class or function that Python can import. "
            f"Error: {str(error).splitlines()[0]}"
        ) from error
    _check_arguments(group, path, target, made.keywords, args, kwargs)
    return made


def _with_arguments(path: str, target: Callable[..., Any], node: Mapping[str, Any]) -> partial[Any]:
    """Return the target with the node's arguments bound, like Hydra's `instantiate` for a node with `_partial_`.

    Hydra takes milliseconds. It is skipped for a target that it has found before, unless it would convert an argument.
    """
    arguments = {key: value for key, value in node.items() if key not in RESERVED}
    if _found.get(path) is target and "_args_" not in arguments and all(map(_is_plain, arguments.values())):
        return partial(target, **arguments)
    made: partial[Any] = instantiate(dict(node), _partial_=True, _convert_="all")
    _found[path] = made.func
    return made


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and "${" not in value)


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
    except ValueError:  # some built-in functions have no signature
        return
    kwargs = {k: v for k, v in kwargs.items() if k in signature.parameters or k not in OPTIONAL}
    names = [name for name in signature.parameters if name not in kwargs][len(args) :]
    takes_anything = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for key, value in ours.items():
        if key in names:
            _check_kind(f"{group}.{key}", value, signature.parameters[key])
        elif not takes_anything:
            raise ConfigError(f"{schema.unknown_argument(group, key, value, names)} (with {path})")
    try:
        signature.bind(*args, **kwargs, **ours)
    except TypeError as error:
        raise ConfigError(
            f"{group}._target_={path}: expected a class or function that accepts the arguments of the group {group}. "
            f"TypeError: {error}"
        ) from error


def _check_kind(key: str, value: Any, parameter: inspect.Parameter) -> None:
    """Check that a value has the type of the parameter's default or, if the default is None, of its annotation.

    Raises:
        ConfigError: The value has another type.
    """
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
        hint = ""
        if isinstance(value, str):
            hint = f". {value!r} is text. \"{key}='${{oc.decode:${{oc.env:NAME}}}}'\" reads an environment variable."
        raise ConfigError(f"{key}={value}: expected {allowed}{hint}")


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@contextlib.contextmanager
def explain_errors(group: str, node: Mapping[str, Any]) -> Iterator[None]:
    """Turn errors of a target into `ConfigError`, which names the keys and values of its group.

    Args:
        group: Name of the group.
        node: Plain configuration of the group.
    """
    try:
        yield
    except UserError:
        raise
    except InvalidArgument as error:
        raise ConfigError(f"{group}.{error}") from error
    except InvalidData as error:
        raise ConfigError(f"{group}._target_={node['_target_']}: {error}") from error
    except Exception as error:  # a target may be user-defined code; HYDRA_FULL_ERROR=1 shows the traceback
        settings = {k: v for k, v in node.items() if not k.startswith("_")} or {"_target_": node.get("_target_")}
        given = ", ".join(f"{group}.{k}={v}" for k, v in settings.items())
        raise ConfigError(f"{given}: failed with {type(error).__name__}{_place(error)}: {error}") from error


def _place(error: Exception) -> str:
    """Return the innermost line of user-defined code in the traceback, as " in FILE:LINE"; empty without any."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_user_defined(frame.filename)]
    return f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
