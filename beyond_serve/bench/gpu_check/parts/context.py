"""Contexts end to end with a tiny network: every bucket and between, images and tensors, two at once."""

from __future__ import annotations

import numpy as np

from beyond_serve.bench.gpu_check.engine_check import EngineCheck
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.site import Site
from beyond_serve.bench.gpu_check.tiny import (
    NORMALIZATION,
    SIZE,
    TorchReference,
    export_tiny,
    network_input,
    tiny_module,
)
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.buckets import batch_buckets
from beyond_serve.engines.load import load_engine

MAX_BATCH = 40
LIMIT = 1e-4
"""Of float32 beside float32: sums in another order."""


def run(site: Site, record: Recorder) -> None:
    check_context(site, record, f"cuda:{site.device}", rounds=20 if site.quick else 200)


def check_context(site: Site, record: Recorder, device: str, rounds: int) -> None:
    """Fresh random images; every row of every output is compared with float32 on the CPU."""
    module, path = tiny_module(), site.work / "tiny.pt2"
    export_tiny(module, path, 4 * MAX_BATCH)
    config = EngineConfig(
        str(path),
        engine="torch",
        device=device,
        max_batch=MAX_BATCH,
        image_size=SIZE,
        normalization=NORMALIZATION,
    )
    engine = load_engine(config)
    try:
        check = EngineCheck("tiny fp32", engine, TorchReference(module), LIMIT, np.random.default_rng())
        check.images(record, sizes())
        check.tensors(record, sizes(), network_input)
        check.ranks(record, (1, 5, MAX_BATCH))
        check.nan_rows(record, network_input)
        check.at_once(record, 17, rounds)
        record.facts({"rows compared": check.rows, "warnings": list(engine.info.warnings)})
    finally:
        engine.close()


def sizes() -> tuple[int, ...]:
    """Every bucket, one more than it, and more than the largest holds."""
    buckets = batch_buckets(MAX_BATCH)
    return tuple(sorted({*buckets, *(size + 1 for size in buckets), 2 * MAX_BATCH + 3}))
