"""Starts a part's process, and ends it when its time is over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import beyond_serve
from beyond_serve.bench.gpu_check.child import command
from beyond_serve.bench.gpu_check.findings import read_findings
from beyond_serve.bench.gpu_check.part import Part
from beyond_serve.bench.gpu_check.plan import Ended
from beyond_serve.bench.gpu_check.site import Site

_SAID = 4000
"""Characters of a failed part's output that are kept: an invented number."""

_GRACE_S = 5.0

Command = Callable[[Part, Site, Path], list[str]]


def launch(part: Part, site: Site, make: Command = command) -> Ended:
    """Run `part` in a process and session of its own until it ends, `site.limit_s` is over or Ctrl-C is
    pressed; what it had found by then is kept."""
    findings, log = site.work / f"{part.name}.findings", site.work / f"{part.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            make(part, site, findings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(),
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(site.limit_s)
            interrupted = False
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
            code, interrupted = None, isinstance(error, KeyboardInterrupt)
        finally:
            _end(process)
    said = log.read_text(encoding="utf-8", errors="replace")[-_SAID:]
    return Ended(code, read_findings(findings), said, interrupted)


def _end(process: subprocess.Popen[bytes]) -> None:
    """First as Ctrl-C would, so that it ends the servers that it started, then its whole session: compilers
    and load generators end with it."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> dict[str, str]:
    """This package is found wherever the command was started, installed or not."""
    root = str(Path(beyond_serve.__file__).parent.parent)
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
