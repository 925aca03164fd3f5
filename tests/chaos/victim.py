"""The server under chaos: started as a user starts it, watched, and hurt."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from tests.chaos import poison
from tests.chaos.cases import ROWS_TIMEOUT_MS
from tests.chaos.http_connection import HttpConnection
from tests.end_to_end.serving import ROOT, Server, command

CONFIGURATION = """
http = "127.0.0.1:0"
grpc = "127.0.0.1:0"
idle-timeout-s = 600
instance-kind = "process"

[models.rows]
path = "{rows}"
engine = "onnxruntime"
timeout-ms = {timeout_ms:g}
instances = 2
weight = 2
max-batch = 8
max-queue = 48

[models.digits]
path = "demo"
instances = 1
max-batch = 16
max-queue = 96
ladder = "exact,fast"
ladder-wait-ms = 20
"""

Samples = dict[str, float]

_SAMPLE = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


def parse_metrics(text: str) -> Samples:
    """Prometheus samples by name and labels, as they are written."""
    return {name: float(value) for name, value in _SAMPLE.findall(text)}


class Victim:
    """A running server, its processes and its log.

    Attributes:
        children: every child process that was ever seen, with those that are gone.
        killed: how many of them were killed by us.
    """

    def __init__(self, server: Server, log: IO[str]) -> None:
        self.server = server
        self.children: set[psutil.Process] = set()
        self.killed = 0
        self._log = log
        self._process = psutil.Process(server.process.pid)
        self._metrics: HttpConnection | None = None

    @property
    def http(self) -> tuple[str, int]:
        host, port = self.server.http.removeprefix("http://").split(":")
        return host, int(port)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def resident_mib(self) -> float:
        """Memory of the server's own process; its children come and go."""
        return self._process.memory_info().rss / 2**20

    def instances(self) -> list[psutil.Process]:
        """The child processes that run a model, at the moment."""
        children = self._process.children(recursive=True)
        self.children.update(children)
        return [child for child in children if _runs_a_model(child)]

    def kill_one(self, rng: random.Random) -> None:
        instances = self.instances()
        if instances:
            with contextlib.suppress(psutil.NoSuchProcess):
                rng.choice(instances).kill()
                self.killed += 1

    async def metrics(self) -> Samples:
        return parse_metrics((await self._get("/metrics"))[1])

    async def ready(self) -> bool:
        return (await self._get("/v2/health/ready"))[0] == 200

    async def _get(self, path: str) -> tuple[int, str]:
        if self._metrics is None or not self._metrics.usable:
            self._metrics = await HttpConnection.connect(*self.http)
        request = f"GET {path} HTTP/1.1\r\nHost: chaos\r\n\r\n".encode()
        async with asyncio.timeout(30):
            answer = await self._metrics.send(request)
        return answer.status, answer.body.decode()

    def disconnect(self) -> None:
        if self._metrics is not None:
            self._metrics.leave()

    def orphans(self) -> list[psutil.Process]:
        """Processes of the server's that outlive it by more than a moment."""
        until = time.monotonic() + 5
        alive = list(self.children)
        while (alive := [child for child in alive if _lives(child)]) and time.monotonic() < until:
            psutil.wait_procs(alive, timeout=0.05)
        return alive


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _runs_a_model(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@contextlib.contextmanager
def victim(work: int) -> Iterator[Victim]:
    """Serve two models until the block ends.

    Args:
        work: how much an image costs on the first, see `poison.write_model`.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        rows = poison.write_model(Path(folder) / "rows.onnx", work)
        config = Path(folder) / "serve.toml"
        config.write_text(CONFIGURATION.format(rows=rows, timeout_ms=ROWS_TIMEOUT_MS))
        process = subprocess.Popen(
            command("--config", str(config)), stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
        )
        server = Server(process)
        try:
            server.read_until("ready in")
            yield Victim(server, log)
        finally:
            server.close()
