"""What a result may depend on besides its configuration: the machine, the libraries, the state of the code."""

import functools
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mnist_mlp


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
