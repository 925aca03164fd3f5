"""`beyond-bench overlap`: does the server keep what its parts can do.

On the same cores, in one process each: preprocessing alone, inference alone, and the server end to
end. Work that shares the cores allows at most 1 / (1/T_pre + 1/T_inf).
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import cast

from rich.progress import Progress

from beyond_serve.bench.images import MEDIUM, paper_image
from beyond_serve.bench.parts import infer_rate, preprocess_rate
from beyond_serve.bench.processes import beyond_serve_command, free_port, started
from beyond_serve.bench.report import Result, Verdict
from beyond_serve.bench.resnet import build_resnet50
from beyond_serve.bench.wrk import run_wrk
from beyond_serve.engines.load import load_engine
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.plan import Fidelity
from beyond_serve.server.config import ModelConfig
from beyond_serve.server.loading import read_source

ASKED = 0.9
CONNECTIONS = 64
DELAY_US = 10_000


def run(rounds: int, seconds: float, fidelity: str, progress: Progress) -> Result:
    """Measure the demo model and a ResNet-50-sized one on medium images."""
    result = Result("overlap", ("model", "preprocess/s", "infer/s", "allowed/s", "end to end/s", "share"))
    body = paper_image(MEDIUM)
    with tempfile.TemporaryDirectory() as folder:
        resnet = Path(folder, "resnet50.onnx")
        build_resnet50(resnet)
        for name, source in (("demo", "demo"), ("resnet50", str(resnet))):
            found = _one(name, source, body, rounds, seconds, fidelity, progress)
            pre, infer, whole = (statistics.median(values) for values in zip(*found, strict=True))
            allowed = statistics.median(1 / (1 / p + 1 / i) for p, i, _ in found)
            share = statistics.median(w / (1 / (1 / p + 1 / i)) for p, i, w in found)
            result.rows.append((name, pre, infer, allowed, whole, share))
            result.verdicts.append(
                Verdict(
                    f"{name}: end to end of what is allowed", f">= {ASKED}", f"{share:.3f}", share >= ASKED
                )
            )
    result.notes.append(
        f"{rounds} interleaved rounds of {seconds:g} s, fidelity {fidelity}, medium image, batches of up to "
        f"32, delay {DELAY_US} us, {CONNECTIONS} connections; wrk runs on the same cores and its share "
        "counts against the server"
    )
    return result


def _one(
    name: str, source: str, body: bytes, rounds: int, seconds: float, fidelity: str, progress: Progress
) -> list[tuple[float, float, float]]:
    config = ModelConfig(name, source, fidelity=cast("Fidelity", fidelity))
    described = read_source(config)
    assert described.plan is not None
    engine = load_engine(described.engine)
    host = HostPreprocessor(described.plan, cast("Fidelity", fidelity))
    port = free_port()
    # Throughput is asked, so batches may wait to fill: a cheap model in batches of one or two, which is what
    # no delay gives while decoding is the bottleneck, spends ten times as much per image.
    arguments = ("--model", f"{name}={source}", "--fidelity", fidelity, "--max-delay-us", str(DELAY_US))
    command = beyond_serve_command(*arguments, "--http", f"127.0.0.1:{port}", "--grpc", "off")
    base = f"http://127.0.0.1:{port}"
    task = progress.add_task(name, total=rounds * 3)
    found = []
    with started(name, command, f"{base}/predict", f"{base}/healthz") as server:
        for _ in range(rounds):
            pre = asyncio.run(preprocess_rate(host, body, seconds)).per_s
            progress.advance(task)
            infer = infer_rate(engine, described.plan.output_shape, seconds).per_s
            progress.advance(task)
            whole = run_wrk(server.url, body, connections=CONNECTIONS, seconds=seconds)
            progress.advance(task)
            found.append((pre, infer, whole.rate))
    engine.close()
    return found
