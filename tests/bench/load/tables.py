"""Request tables for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from beyond_serve.batching import STAGES
from beyond_serve.bench.load.arrivals import Arrivals
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.load.spec import LoadSpec, Target
from beyond_serve.bench.load.table import RequestTable

MS = 1_000_000
S = 1_000_000_000
STAGE_COUNT = len(STAGES)


def table(scheduled: Any, sent: Any, received: Any, error: Any = None, stages_us: Any = None) -> RequestTable:
    """Times in nanoseconds; `stages_us` [n, stages], NaN rows where there was no trace."""
    count = len(scheduled)
    stages = np.full((count, STAGE_COUNT), np.nan) if stages_us is None else np.asarray(stages_us)
    return RequestTable(
        scheduled_ns=np.asarray(scheduled, np.int64),
        sent_ns=np.asarray(sent, np.int64),
        received_ns=np.asarray(received, np.int64),
        status=np.full(count, 200, np.int16),
        error=np.zeros(count, np.int16) if error is None else np.asarray(error, np.int16),
        bytes_in=np.full(count, 100, np.int64),
        bytes_out=np.full(count, 4000, np.int64),
        image=np.zeros(count, np.uint16),
        worker=np.zeros(count, np.uint8),
        measured=np.ones(count, np.bool_),
        server_us=stages.sum(axis=1).astype(np.float32),
        stages_us=stages.astype(np.float32),
        batch_size=np.where(np.isnan(stages[:, 0]), np.nan, 1).astype(np.float32),
        simulated=np.zeros(count, np.bool_),
    )


def spec(arrivals: Arrivals, **options: Any) -> LoadSpec:
    return LoadSpec(
        target=options.pop("target", Target("http://127.0.0.1:1")),
        arrivals=arrivals,
        images=(MixImage("x", b"x" * 10, 1.0),),
        **{"warmup_s": 0.0, **options},
    )
