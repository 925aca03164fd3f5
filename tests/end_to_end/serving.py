"""The real command, started as a user starts it."""

from __future__ import annotations

import contextlib
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE_S = 60.0


class Server:
    """A running beyond-serve. `said` is its standard output so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def read_until(self, needle: str) -> str:
        """The first line with `needle`; fails if it does not come in time."""
        try:
            while True:
                line = self._lines.get(timeout=PATIENCE_S)
                self.said.append(line)
                if needle in line:
                    return line
        except queue.Empty:
            raise AssertionError(f"the server never said {needle!r}; it said {self.said}") from None

    def close(self) -> None:
        """End it, however it is."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _address(self, name: str) -> str:
        line = next(line for line in self.said if line.startswith(name))
        found = re.search(r"127\.0\.0\.1:\d+", line)
        assert found is not None
        return found[0]

    @property
    def http(self) -> str:
        scheme = "https" if any("https://" in line for line in self.said) else "http"
        return f"{scheme}://{self._address('HTTP')}"

    @property
    def grpc(self) -> str:
        return self._address("gRPC")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "beyond_serve.server.main", *arguments]


@contextlib.contextmanager
def serving(*arguments: str, environ: dict[str, str] | None = None) -> Iterator[Server]:
    """Serve on free ports until the block ends."""
    addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    process = subprocess.Popen(
        command(*addresses, *arguments), stdout=subprocess.PIPE, text=True, env=environ, cwd=ROOT
    )
    server = Server(process)
    try:
        server.read_until("ready in")
        yield server
    finally:
        server.close()


def refused(*arguments: str) -> tuple[int, str]:
    """Exit status and standard error of a command line that cannot start."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stderr


def curl(*arguments: str, data: bytes | None = None) -> tuple[int, bytes]:
    """Status and body, by the real curl."""
    run: Sequence[str] = ["curl", "-sS", "-w", "\n%{http_code}", *arguments]
    done = subprocess.run(run, input=data, capture_output=True, timeout=PATIENCE_S, check=True)
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body
