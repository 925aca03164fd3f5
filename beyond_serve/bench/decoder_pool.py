"""The native pool in `beyond-bench decoders`: does a second thread double it, and what Python costs."""

from __future__ import annotations

import select
import time
from statistics import median

import numpy as np

from beyond_serve.bench.decoder_peers import PLAN, shape_of
from beyond_serve.bench.report import Verdict
from beyond_serve.preprocess.native_plan import native_params
from beyond_serve.preprocess.native_pool import NativePool

IN_FLIGHT = 64


def pool_verdicts(data: bytes, rounds: int) -> list[Verdict]:
    """Throughput of 2 threads against 1, interleaved, and the event loop's thread's share of an image."""
    one, two, shares = [], [], []
    for _ in range(rounds):
        rate, _ = _run(data, 1)
        one.append(rate)
        rate, share = _run(data, 2)
        two.append(rate)
        shares.append(share)
    gain, share = median(two) / median(one), median(shares)
    return [
        Verdict("pool, medium: 2 threads against 1", "1.9 times", f"{gain:.2f}", gain >= 1.9),
        Verdict("pool, medium: Python's share of an image's time", "under 3 %", f"{share:.1%}", share < 0.03),
    ]


def _run(data: bytes, threads: int, images: int = 600) -> tuple[float, float]:
    """(images per second, seconds of this thread's CPU per second of decoding)."""
    params = native_params(shape_of(data), PLAN.interpolation, "exact")
    assert params is not None
    slots = [np.empty(PLAN.output_shape, np.uint8) for _ in range(IN_FLIGHT)]
    pool = NativePool(threads, IN_FLIGHT)
    busy_ns = 0
    start, cpu = time.perf_counter(), time.thread_time_ns()
    for index in range(IN_FLIGHT):
        pool.submit(index, data, params, slots[index])
    submitted, finished = IN_FLIGHT, 0
    while finished < images:
        select.select([pool.fileno()], [], [])
        for token, outcome in pool.completed():
            assert isinstance(token, int)
            finished += 1
            busy_ns += outcome.end_ns - outcome.start_ns
            if submitted < images:
                pool.submit(token, data, params, slots[token])
                submitted += 1
    seconds, cpu = time.perf_counter() - start, time.thread_time_ns() - cpu
    pool.close()
    return images / seconds, cpu / busy_ns
