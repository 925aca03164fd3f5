"""Servers under test: started, awaited, pinned and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from beyond_serve.errors import ConfigError

START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that answers at `url`."""

    name: str
    url: str
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """User and system time so far, of the process alone."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Resident memory now, of the process alone."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@contextlib.contextmanager
def started(
    name: str, command: Sequence[str], url: str, probe: str, cores: Sequence[int] | None = None
) -> Iterator[ServerProcess]:
    """Run `command` until the block ends; enter the block once `probe` answers anything.

    Raises:
        ConfigError: it ended or did not answer in time.
    """
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *command] if cores else list(command)
    with tempfile.TemporaryFile() as log:
        # A file and not a pipe, which would block a server that logs more than a pipe holds; a session of
        # its own, so that its workers end with it.
        process = subprocess.Popen(pinned, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
        try:
            _await_answer(name, process, probe, log)
            yield ServerProcess(name, url, process)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _await_answer(name: str, process: subprocess.Popen[bytes], probe: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()
            raise ConfigError(f"{name} ended with {process.returncode}: {said[-300:]}", "start it by hand")
        try:
            with urllib.request.urlopen(probe, timeout=1):  # noqa: S310 - a loopback URL of our own
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise ConfigError(f"{name} did not answer at {probe} in {START_TIMEOUT_S:g} s", "start it by hand")


def free_port() -> int:
    """A port that was free a moment ago."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def beyond_serve_command(*arguments: str) -> list[str]:
    """The command line of our own server, in this interpreter."""
    return [sys.executable, "-m", "beyond_serve.server.main", *arguments]
