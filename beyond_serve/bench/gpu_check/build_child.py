"""Builds one model in a process of its own: compiling takes a minute, and several go side by side."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

from beyond_serve.bench.gpu_check.networks import IMAGE_SIZE, NETWORKS, make_module
from beyond_serve.engines.foreign import one_line
from beyond_serve.errors import BeyondError
from beyond_serve.preprocess.plan import Normalization

MAX_BATCH = 128
NORMALIZATION = Normalization()


class BuildResult(NamedTuple):
    """failure: why there is no file; empty if there is one. error: as `build_pt2` measured it."""

    failure: str
    seconds: float = 0.0
    error: float = 0.0
    library: str = ""


def build(network: str, precision: str, output: Path, device: str) -> BuildResult:
    """Write `output`; whatever goes wrong is in the result."""
    started = time.monotonic()
    try:
        from beyond_serve.engines.torch.build import BuildRequest, build_pt2

        source = next(source for source in NETWORKS if source.name == network)
        module, library = make_module(source)
        request = BuildRequest(
            output=output,
            image_size=(IMAGE_SIZE, IMAGE_SIZE),
            normalization=NORMALIZATION,
            precision=precision,
            max_batch=MAX_BATCH,
            device=device,
        )
        report = build_pt2(module, request, lambda line: print(line, file=sys.stderr, flush=True))
    except BeyondError as error:
        return BuildResult(f"{error.message}{'; ' + error.hint if error.hint else ''}")
    except Exception as error:  # compilers have no common error
        return BuildResult(f"{type(error).__name__}: {one_line(error)}")
    return BuildResult("", time.monotonic() - started, float(report.error), library)


def command(network: str, precision: str, output: Path) -> list[str]:
    """What starts this in another process; its last line is the result."""
    return [sys.executable, "-m", "beyond_serve.bench.gpu_check.build_child", network, precision, str(output)]


if __name__ == "__main__":
    print(json.dumps(build(sys.argv[1], sys.argv[2], Path(sys.argv[3]), "cuda")))
