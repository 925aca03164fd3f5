"""Load from wrk, an independent closed-loop generator (Debian package `wrk`)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from beyond_serve.errors import ConfigError

_SCRIPT = """\
local file = io.open(os.getenv("BEYOND_BODY"), "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "image/jpeg"
file:close()
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class WrkResult:
    """One run. Latencies in microseconds, counted from the send: wrk is a closed loop."""

    requests: int
    seconds: float
    p50_us: int
    p99_us: int
    errors: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def run_wrk(
    url: str, body: bytes, *, connections: int, seconds: float, core: int | None = None, threads: int = 1
) -> WrkResult:
    """POST `body` to `url` from `connections` connections for `seconds`.

    Raises:
        ConfigError: wrk is not installed or could not connect.
    """
    if shutil.which("wrk") is None:
        raise ConfigError("wrk is not installed", "apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        script, file = Path(folder, "post.lua"), Path(folder, "body")
        script.write_text(_SCRIPT)
        file.write_bytes(body)
        command = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{max(1, round(seconds))}s"]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        run = subprocess.run(
            [*command, "-s", str(script), url],
            env={**os.environ, "BEYOND_BODY": str(file)},
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", run.stdout)
    if found is None:
        raise ConfigError(f"wrk failed: {(run.stderr or run.stdout).strip()[:200]}", "check the URL")
    requests, microseconds, p50, p99, errors = map(int, found.groups())
    return WrkResult(requests, microseconds / 1e6, p50, p99, errors)
