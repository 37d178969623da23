"""Provenance of a result: machine, libraries, and the state of the code."""

import ast
import functools
import hashlib
import importlib.util
import platform
import pydoc
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import mnist_mlp

LIBRARY_FOLDERS = {"site-packages", "dist-packages"}  # what is installed lies below one of them, in any environment
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
RUN_FROM = ("mnist_mlp", "conf", "hydra_plugins", "run.py")  # where a new file may change a run


def environment(device: str, threads: int) -> Mapping[str, Any]:
    """What a result may depend on besides its configuration.

    Args:
        device: the PyTorch device of the run, such as cpu or cuda:0.
        threads: CPU threads of the run.
    """
    import torch

    is_cuda = device.startswith("cuda")
    return {
        "package": mnist_mlp.__version__,
        **_git(Path(mnist_mlp.__file__).parents[1]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if is_cuda else None,
        "device": torch.cuda.get_device_name(device) if is_cuda else device,
        "cpu": cpu_model(),
        "threads": threads,
        "platform": platform.platform(),
    }


def extra_with(library: str) -> str | None:
    """The extra of this package that brings an optional library, and the fewest others; None where none does."""
    extras: dict[str, set[str]] = {}
    with suppress(PackageNotFoundError):
        for requirement in requires("mnist-mlp") or ():
            if extra := re.search(r"extra == ['\"](\w+)['\"]", requirement):
                name = re.split(r"[^\w.-]", requirement)[0]
                extras.setdefault(extra[1], set()).add(name.replace("-", "_"))
    having = [extra for extra, names in extras.items() if library.replace("-", "_") in names]
    return min(having, key=lambda extra: len(extras[extra]), default=None)


def find_modules_in(directory: str) -> None:
    """Have Python find a user's modules in a directory too, after those beside the script and all that is installed."""
    if directory not in sys.path:
        sys.path.append(directory)


def code(config: Mapping[str, Any]) -> dict[str, str]:
    """The user's own code behind the targets of a configuration: dotted module to the SHA-256 of its file.

    That is the module that each `_target_` names, the one that defines it, and whatever modules of the user's these
    import, at their top or anywhere else; by their text, as what is loaded so far differs between processes. Of this
    package and of installed libraries `environment` has the version. A file counts as it was when this process first
    asked, which is about when it imported it. What cannot be imported is left for others to report.

    Args:
        config: plain (see `mnist_mlp.base.configuration.plain`).
    """
    waiting = [name for path in _targets(config) for name in _modules_behind(path)]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name not in found and (file := _own_file(name)):
            with suppress(OSError):  # a module of an archive
                found[name], imported = _digest_and_imports(name, file)
                waiting += imported
    return dict(sorted(found.items()))


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _modules_behind(path: str) -> Iterator[str]:
    """The module in a dotted path, and the one in which what the path names is defined."""
    target = None
    with suppress(ImportError, pydoc.ErrorDuringImport):
        target = pydoc.locate(path)
    parts = path.split(".")
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    yield from [name for name in names if name in sys.modules][:1]
    yield str(getattr(target, "__module__", ""))


def file_of(name: str) -> str:
    """The file of a module; its name, where it has none."""
    return str(_own_file(name) or name)


def _own_file(name: str) -> Path | None:
    """The file of a module; None if it is no file of the user's."""
    top = name.partition(".")[0]
    if top == mnist_mlp.__name__:
        return None
    file = None
    for part in dict.fromkeys((top, name)):  # a library's own modules are not looked for, as that would import it
        try:
            spec = importlib.util.find_spec(part)
        except (ImportError, ValueError, AttributeError):  # a name in a module, or a module that was made up
            return None
        if spec is None:
            return None
        file = spec.origin if spec.has_location else None  # a folder without __init__.py has none
        if not any(map(_is_own, [file] if file else spec.submodule_search_locations or ())):
            return None
    return Path(file).resolve() if file else None


def _is_own(name: str) -> bool:
    file = Path(name).resolve()
    return not LIBRARY_FOLDERS & set(file.parts) and not file.is_relative_to(STANDARD_LIBRARY)


def is_users(name: str) -> bool:
    """Return whether a file is user-defined code: neither a library's nor this package's."""
    return Path(name).is_file() and _is_own(name) and not Path(name).is_relative_to(Path(mnist_mlp.__file__).parent)


@functools.cache
def _digest_and_imports(name: str, file: Path) -> tuple[str, list[str]]:
    """SHA-256, hexadecimal, of a module's file, and the dotted names that may be modules it imports."""
    content = file.read_bytes()
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    names = [package] if package else []  # which Python runs first
    with suppress(SyntaxError, ValueError):  # compiled code
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = "." * node.level + (node.module or "")
                with suppress(ImportError):  # beyond the top: Python will say so
                    base = importlib.util.resolve_name(base, package)
                    names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return hashlib.sha256(content).hexdigest(), names


@functools.cache
def _git(top: Path) -> dict[str, Any]:
    """Return the commit of a checkout, and whether it is dirty: whether the commit is not the code that runs.

    Changes of tracked files count, except in reports and studies. A new file counts only where a run may use it without
    naming it; new user-defined modules have digests (see `code`).
    """
    if not (top / ".git").exists():
        return {"commit": None, "dirty": None}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(top), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!reports", ":!experiments")
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(changed or git("status", "--porcelain", "--untracked-files=all", "--", *RUN_FROM)),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


@functools.cache
def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
