"""What a result may depend on besides its configuration: the machine, the libraries, the state of the code."""

import functools
import hashlib
import platform
import pydoc
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import mnist_mlp

LIBRARY_FOLDERS = {"site-packages", "dist-packages"}  # what is installed lies below one of them, in any environment
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


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
        **_git(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if is_cuda else None,
        "device": torch.cuda.get_device_name(device) if is_cuda else device,
        "cpu": cpu_model(),
        "threads": threads,
        "platform": platform.platform(),
    }


def find_modules_in(directory: str) -> None:
    """Have Python find a user's modules in a directory too, after those beside the script and all that is installed."""
    if directory not in sys.path:
        sys.path.append(directory)


def code(config: Mapping[str, Any]) -> dict[str, str]:
    """The user's own code behind the targets of a configuration: dotted module to the SHA-256 of its file.

    That is the module that each `_target_` names, the one that defines it, and whatever modules of the user's these
    refer to in turn. Of this package and of installed libraries `environment` has the version. A file counts as it was
    when this process first asked, which is when it imported it. What cannot be imported is left for others to report.

    Args:
        config: plain (see `mnist_mlp.config.plain`).
    """
    waiting = [module for path in _targets(config) for module in _modules_behind(path)]
    found: dict[str, str] = {}
    while waiting:
        module = waiting.pop()
        if module.__name__ not in found and (digest := _digest_of_own(module)):
            found[module.__name__] = digest
            waiting += _modules_used_by(module)
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


def _modules_behind(path: str) -> Iterator[ModuleType]:
    """The module in a dotted path, and the one in which what the path names is defined."""
    target = None
    with suppress(ImportError, pydoc.ErrorDuringImport):
        target = pydoc.locate(path)
    parts = path.split(".")
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    nearest = next((name for name in names if name in sys.modules), None)
    yield from (sys.modules[name] for name in (nearest, str(getattr(target, "__module__", ""))) if name in sys.modules)


def _modules_used_by(module: ModuleType) -> Iterator[ModuleType]:
    for value in list(vars(module).values()):
        used = value if isinstance(value, ModuleType) else sys.modules.get(str(getattr(value, "__module__", None)))
        if used is not None:
            yield used


def file_of(name: str) -> str:
    """The file of an imported module; its name, where it has none or is not imported."""
    return getattr(sys.modules.get(name), "__file__", None) or name


@functools.cache
def _digest_of_own(module: ModuleType) -> str | None:
    """SHA-256, hexadecimal, of a module's file; None if it is no file of the user's."""
    name = getattr(module, "__file__", None)
    if not name or module.__name__.partition(".")[0] == mnist_mlp.__name__:
        return None
    file = Path(name).resolve()
    if LIBRARY_FOLDERS & set(file.parts) or file.is_relative_to(STANDARD_LIBRARY):
        return None
    with suppress(OSError):  # a module of an archive
        return hashlib.sha256(file.read_bytes()).hexdigest()
    return None


@functools.cache
def _git() -> dict[str, Any]:
    """Commit of the checkout that this package runs from, and whether anything in it is changed or new."""
    top = Path(__file__).parents[1]
    if not (top / ".git").exists():
        return {"commit": None, "dirty": None}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(top), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


@functools.cache
def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
