"""One part in its own process: what it breaks, nobody else must live with."""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.part import PARTS, Part
from beyond_serve.bench.gpu_check.site import NotHere, Site
from beyond_serve.bench.termination import terminated_as_interrupted
from beyond_serve.engines.foreign import one_line
from beyond_serve.errors import BeyondError


def command(part: Part, site: Site, findings: Path) -> list[str]:
    """What starts `main` in another process."""
    words = (
        part.name,
        str(findings),
        str(site.work),
        str(site.device),
        str(int(site.quick)),
        f"{site.limit_s}",
    )
    return [sys.executable, "-m", "beyond_serve.bench.gpu_check.child", *words]


def main(arguments: list[str]) -> int:
    name, findings, work, device, quick, limit_s = arguments
    site = Site(int(device), Path(work), quick == "1", float(limit_s), time.monotonic())
    part = next(part for part in PARTS if part.name == name)
    try:
        with terminated_as_interrupted():
            return run(importlib.import_module(part.module).run, site, Recorder(Path(findings)))
    except KeyboardInterrupt:  # its time is over; what it found is written
        return 130


def run(part: Callable[[Site, Recorder], None], site: Site, record: Recorder) -> int:
    """Run it and record how it ended; the exit status."""
    try:
        part(site, record)
    except NotHere as error:
        record.skipped(error.message)
    except BeyondError as error:
        record.failed(f"{error.message}{'; ' + error.hint if error.hint else ''}")
        traceback.print_exc()
        return 1
    except Exception as error:  # whatever a part meets is its own finding
        record.failed(f"{type(error).__name__}: {one_line(error)}")
        traceback.print_exc()
        return 1
    else:
        record.complete()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
