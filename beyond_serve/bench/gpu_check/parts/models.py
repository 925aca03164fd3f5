"""The three networks in bf16 and fp16 as .pt2 files, all compiled side by side."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from beyond_serve.bench.gpu_check.build_child import BuildResult, command
from beyond_serve.bench.gpu_check.built import BuiltModel, add_built
from beyond_serve.bench.gpu_check.figures import holds
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.networks import NETWORKS, PRECISIONS, SMALLEST
from beyond_serve.bench.gpu_check.part import has_module
from beyond_serve.bench.gpu_check.plan import OUT_OF_TIME
from beyond_serve.bench.gpu_check.site import NotHere, Site

_SPARE_S = 4.0
_THREADS = "4"
"""Compilers of one build: six builds share a machine's cores. An invented number."""

Build = Callable[[BuiltModel, float], BuildResult | None]
"""Build it within so many seconds; None if they were not enough."""


def run(site: Site, record: Recorder) -> None:
    if not (has_module("timm") or has_module("torchvision")):
        raise NotHere("not installed: timm or torchvision")
    environment = compile_environment(site)
    build_all(site, record, wanted(site), lambda model, limit_s: _build(model, limit_s, environment))


def wanted(site: Site) -> list[BuiltModel]:
    """All of them, or the smallest alone with --quick."""
    if site.quick:
        return [_model(site, SMALLEST.name, "bf16")]
    return [_model(site, source.name, precision) for precision in PRECISIONS for source in NETWORKS]


def _model(site: Site, network: str, precision: str) -> BuiltModel:
    name = "".join(letter if letter.isalnum() else "-" for letter in network.lower())
    return BuiltModel(network, precision, str(site.work / f"{name}-{precision}.pt2"))


def build_all(site: Site, record: Recorder, models: list[BuiltModel], build: Build) -> None:
    """Each model is there for later parts as soon as it is built."""
    rows: list[tuple[object, ...]] = []
    with ThreadPoolExecutor(len(models)) as pool:
        limit_s = max(0.0, site.left_s() - _SPARE_S)
        futures: dict[Future[BuildResult | None], BuiltModel] = {
            pool.submit(build, model, limit_s): model for model in models
        }
        for future in as_completed(futures):
            model, result = futures[future], future.result()
            if result is None:
                record.skip(f"{model}: building it", f"{OUT_OF_TIME} ({limit_s:.0f} s)")
                continue
            record.check(holds(f"{model}: is built", "a .pt2 file", result.failure))
            if not result.failure:
                add_built(site.work, model)
                size = Path(model.path).stat().st_size / 1e6
                rows.append((str(model), result.seconds, size, result.error, result.library))
    columns = ("model", "seconds", "MB", "relative error when built", "network of")
    record.table("Built models", columns, sorted(rows, key=lambda row: str(row[0])))


def _build(model: BuiltModel, limit_s: float, environment: Mapping[str, str]) -> BuildResult | None:
    deadline = time.monotonic() + limit_s
    with subprocess.Popen(
        command(model.network, model.precision, Path(model.path)),
        stdout=subprocess.PIPE,
        env=dict(environment),
        text=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            return None
    return read_result(process.returncode, said)


def read_result(code: int, said: str) -> BuildResult:
    """From a build's exit status and output."""
    lines = said.strip().splitlines()
    try:
        return BuildResult(*json.loads(lines[-1]))
    except (IndexError, TypeError, ValueError):
        return BuildResult(f"its process ended with {code}")


def compile_environment(site: Site) -> dict[str, str]:
    """For a build: caches that go with the check, and the device as the only one that it sees."""
    environment = {
        **os.environ,
        "TORCHINDUCTOR_CACHE_DIR": str(site.work / "inductor"),
        "TRITON_CACHE_DIR": str(site.work / "triton"),
        "TORCHINDUCTOR_COMPILE_THREADS": _THREADS,
    }
    if site.device:
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        environment["CUDA_VISIBLE_DEVICES"] = visible[site.device] if visible else str(site.device)
    return environment
