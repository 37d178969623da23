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

LIBRARY_FOLDERS = {"site-packages", "dist-packages"}  # parents of installed packages, in any environment
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
RUN_FROM = ("mnist_mlp", "conf", "hydra_plugins", "run.py")  # paths in which an untracked file may change a run


def environment(device: str, threads: int) -> Mapping[str, Any]:
    """Describe the environment of a run: package version, commit, libraries, device and machine.

    Args:
        device: PyTorch device of the run, such as cpu or cuda:0.
        threads: Number of CPU threads of the run.
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
    """Return the smallest extra of this package that installs an optional library; None if there is no such extra."""
    extras: dict[str, set[str]] = {}
    with suppress(PackageNotFoundError):
        for requirement in requires("mnist-mlp") or ():
            if extra := re.search(r"extra == ['\"](\w+)['\"]", requirement):
                name = re.split(r"[^\w.-]", requirement)[0]
                extras.setdefault(extra[1], set()).add(name.replace("-", "_"))
    having = [extra for extra, names in extras.items() if library.replace("-", "_") in names]
    return min(having, key=lambda extra: len(extras[extra]), default=None)


def find_modules_in(directory: str) -> None:
    """Append a directory to the import path, after the script's directory and installed packages."""
    if directory not in sys.path:
        sys.path.append(directory)


def code_digests(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each file of user-defined code that a configuration runs, by dotted module name.

    These are the modules that the `_target_` keys and `model.activation` name, the modules that define these objects,
    and all user-defined modules that they import. Imports are read from the source text, since the modules loaded so
    far differ between processes. Installed libraries and this package are left out: `environment` records their
    versions. Additional metrics are left out, too, since they change no result; each has the digests of its own
    configuration, `metrics.NAME`. Each file is hashed once per process, close to its import. Modules that cannot be
    imported are skipped; the build reports them.

    Args:
        config: Plain configuration (see `mnist_mlp.base.configuration.plain`).
    """
    of_result = {key: value for key, value in config.items() if key != "metrics"}
    waiting = [name for path in _targets(of_result) for name in _modules_behind(path)]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name not in found and (file := _user_file(name)):
            with suppress(OSError):  # a module in an archive has no file
                found[name], imported = _digest_and_imports(name, file)
                waiting += imported
    return dict(sorted(found.items()))


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        named = (node.get(key) for key in ("_target_", "activation"))
        yield from (path for path in named if isinstance(path, str) and "." in path)
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _modules_behind(path: str) -> Iterator[str]:
    """Yield the module in a dotted path, and the module that defines the object at that path."""
    target = None
    with suppress(ImportError, pydoc.ErrorDuringImport):
        target = pydoc.locate(path)
    parts = path.split(".")
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    yield from [name for name in names if name in sys.modules][:1]
    yield str(getattr(target, "__module__", ""))


def file_of(name: str) -> str:
    """Return the file of a user-defined module, or the name of the module if it has no such file."""
    return str(_user_file(name) or name)


def _user_file(name: str) -> Path | None:
    """Return the file of a user-defined module; None for other modules."""
    top = name.partition(".")[0]
    if top == mnist_mlp.__name__:
        return None
    file = None
    for part in dict.fromkeys((top, name)):  # top first: looking up a submodule would import its package
        try:
            spec = importlib.util.find_spec(part)
        except (ImportError, ValueError, AttributeError):  # not a module, or one without a proper spec
            return None
        if spec is None:
            return None
        file = spec.origin if spec.has_location else None  # None for a namespace package
        if not any(map(_is_user_module, [file] if file else spec.submodule_search_locations or ())):
            return None
    return Path(file).resolve() if file else None


def _is_user_module(name: str) -> bool:
    file = Path(name).resolve()
    return not LIBRARY_FOLDERS & set(file.parts) and not file.is_relative_to(STANDARD_LIBRARY)


def is_user_defined(name: str) -> bool:
    """Return whether a file is user-defined code: part of neither a library nor this package."""
    return (
        Path(name).is_file()
        and _is_user_module(name)
        and not Path(name).is_relative_to(Path(mnist_mlp.__file__).parent)
    )


@functools.cache
def _digest_and_imports(name: str, file: Path) -> tuple[str, list[str]]:
    """Return the SHA-256 (hexadecimal) of a module's file, and dotted names that may be modules it imports."""
    content = file.read_bytes()
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    names = [package] if package else []  # Python runs the package's __init__ first
    with suppress(SyntaxError, ValueError):  # a compiled module
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = "." * node.level + (node.module or "")
                with suppress(ImportError):  # relative import beyond the top-level package
                    base = importlib.util.resolve_name(base, package)
                    names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return hashlib.sha256(content).hexdigest(), names


@functools.cache
def _git(top: Path) -> dict[str, Any]:
    """Return the commit of a checkout, and whether the working tree is dirty; both None if unknown.

    Changes of tracked files count, except in `reports/` and `experiments/`. Untracked files count only in `RUN_FROM`:
    user-defined modules elsewhere are recorded by their digests (see `code_digests`).
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
    """Return the name of the processor as the operating system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
