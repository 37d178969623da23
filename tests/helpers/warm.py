"""Warm processes, which have imported and warmed up everything before their program begins.

Importing PyTorch, Numba, pandas and Matplotlib takes longer than most commands of the tests, and so do the first
training and the first figure of a process. One process does this once, and is forked for each command. The command runs
the program itself, with a separate exit status, output and session. Tests of the start of a process need a new one.
"""

import atexit
import gc
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import Never

from filelock import FileLock

LATE = (  # modules that a library or a function imports lazily
    "hydra.main",
    "hydra._internal.hydra",
    "hydra.core.override_parser.overrides_parser",
    "hydra._internal.core_plugins.bash_completion",
    "joblib.externals.loky",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "numba.np.ufunc",
    "sklearn.datasets",
)
MESSAGE_BYTES = 2**20
LOOK_SECONDS = 0.2  # until ended connections are noticed


class Warm:
    """Connection to the process that is forked for commands; the process ends after its last connection."""

    def __init__(self, root: Path, address: Path) -> None:
        """Connect to the process that listens at an address; start it if necessary.

        Args:
            root: Directory of the package.
            address: Path of a socket, in a directory of this user.
        """
        self._root, self._address = root, address
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with FileLock(f"{address}.lock"):
            try:
                self._socket.connect(str(address))
            except (FileNotFoundError, ConnectionRefusedError):  # not started yet, or ended
                address.unlink(missing_ok=True)
                self._start(root, str(address))

    def _start(self, root: Path, address: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(address)
            listener.listen()
            self._socket.connect(address)  # before the process can find that it has no connection
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(root)],
                stdin=listener.fileno(),
                stdout=subprocess.DEVNULL,  # never a terminal
                start_new_session=True,
            )

    def __enter__(self) -> "Warm":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if self._process is not None:
            self._process.wait()

    def run(
        self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a script like `subprocess.run([sys.executable, *arguments], capture_output=True, text=True)`."""
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        pid = self._begin(arguments, cwd, env, their_out, their_err)
        late = Timer(timeout, _kill_session, [pid])
        late.start()
        try:
            with open(out) as stdout, open(err) as stderr, ThreadPoolExecutor(1) as pool:
                errors = pool.submit(stderr.read)  # until every process that could write has ended
                output = stdout.read()
            return subprocess.CompletedProcess(arguments, self.answer(), output, errors.result())
        except BaseException:
            _kill_session(pid)
            raise
        finally:
            late.cancel()

    def start(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> "Started":
        """Start like `subprocess.Popen([sys.executable, *arguments], ...)`, in a new session with one output pipe."""
        out, theirs = os.pipe()
        connection = Warm(self._root, self._address)  # it waits for the end of the process, so this one stays free
        return Started(connection, connection._begin(arguments, cwd, env, theirs, os.dup(theirs)), out)

    def _begin(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], *outputs: int) -> int:
        """Fork the command, close these descriptors of its outputs, and return its process id."""
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)}).encode()
        socket.send_fds(self._socket, [request], list(outputs))
        for descriptor in outputs:
            os.close(descriptor)
        return self.answer()

    def answer(self) -> int:
        """Return the next number from the process that forks: a process id or an exit status."""
        answer = self._socket.recv(MESSAGE_BYTES)
        assert answer, "the process to fork has ended"
        return int(answer)


class Started:
    """Running process with the attributes of `subprocess.Popen` that tests use.

    Attributes:
        pid: Process id, also the id of its group and session.
        returncode: Exit status, or minus the number of the signal that ended it; None until `communicate` returns.
    """

    def __init__(self, connection: Warm, pid: int, out: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._out = out

    def communicate(self, timeout: float) -> tuple[str, None]:
        """Return the output after all processes that could write it have ended; kill them after the timeout."""
        late = Timer(timeout, _kill_session, [self.pid])
        late.start()
        try:
            with self._connection, open(self._out) as stdout:
                output = stdout.read()
                self.returncode = self._connection.answer()
        finally:
            late.cancel()
        return output, None

    def end(self) -> None:
        """Kill the process and its group if `communicate` was never called."""
        if self.returncode is None:
            _kill_session(self.pid)
            self.communicate(timeout=60)


def _kill_session(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def import_all() -> None:
    """Import the package and all that it uses."""
    import mnist_mlp
    from mnist_mlp.base.startup import importing

    with importing():
        for module in pkgutil.walk_packages(mnist_mlp.__path__, "mnist_mlp."):
            import_module(module.name)
        for name in LATE:
            import_module(name)


def practice() -> None:
    """Load the kernels and Matplotlib's caches, on one thread, since forks have one."""
    import torch
    from matplotlib.figure import Figure

    from mnist_mlp.base.torch_internals import avoid_compiler_import
    from mnist_mlp.data.splits import Split, Splits
    from mnist_mlp.network.mlp import MLP
    from mnist_mlp.training.loop import train
    from mnist_mlp.training.seeds import derive_seeds

    avoid_compiler_import()
    torch.set_num_threads(1)
    split = Split(torch.arange(32, dtype=torch.uint8).view(8, 4), torch.arange(8) % 2)
    for optimizer in ("SGD", "Adagrad", "RMSprop", "Adadelta", "Adam"):
        model = MLP(4, 2, hidden=[3])
        records = train(
            model,
            getattr(torch.optim, optimizer)(model.parameters(), lr=0.01),
            Splits(split, None, split, classes=2),
            epochs=1,
            batch_size=4,
            seeds=derive_seeds(0),
            log_interval=1,
        )
        assert list(records)
    figure = Figure(layout="constrained")
    figure.subplots().set_yscale("log")
    for kind in ("png", "svg"):
        figure.savefig(io.BytesIO(), format=kind)
    gc.collect()
    gc.freeze()  # garbage collection would copy the shared memory


def become_the_next_server() -> socket.socket | None:
    """Fork for each connection; return it in the child, and None in the parent after the last connection."""
    listener = socket.socket(fileno=0)
    children = 0
    while True:
        if select.select([listener], [], [], LOOK_SECONDS)[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.detach()  # the first request's input takes its place
                return connection
            connection.close()
            children += 1
        while children and os.waitpid(-1, os.WNOHANG)[0]:
            children -= 1
        if not children:
            return None


def become_the_next_command(server: socket.socket) -> str | None:
    """Fork for each request; return the script in the child, which has become `python ARGUMENTS`.

    The parent returns None after the last request.
    """
    while True:
        message, (*outputs,), *_ = socket.recv_fds(server, MESSAGE_BYTES, 2)
        if not message:
            return None
        pid = os.fork()
        if pid == 0:
            break
        for descriptor in outputs:
            os.close(descriptor)
        server.send(str(pid).encode())
        server.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os.setsid()
    server.close()
    for descriptor, ours in enumerate((os.open(os.devnull, os.O_RDONLY), *outputs)):
        os.dup2(ours, descriptor)
        os.close(ours)
    request = json.loads(message)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    gc.set_threshold(0)  # saves a tenth of the time; a command is too short to need it
    import_module("numpy").random.seed()  # Python's generator is reseeded by the fork
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    return sys.argv[0]


def run_to_the_end(script: str) -> Never:
    """Run a script and its exit handlers, and end without freeing memory, which is faster."""
    status: object = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        status = end.code
    except BaseException:
        status = 1
        traceback.print_exc()
    if not (status is None or isinstance(status, int)):  # a message
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # in the order of the interpreter
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    sys.path[0] = sys.argv[1]
    import_all()
    practice()
    if connection := become_the_next_server():
        if script := become_the_next_command(connection):
            run_to_the_end(script)
        os._exit(0)
