"""What one worker process is told: plain data, pickled once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyond_serve.bench.load.arrivals import ClosedLoop, choose_images, schedule, share
from beyond_serve.bench.load.spec import LoadSpec

MOST_PER_SECOND = 60_000
"""Requests that one worker could at most send: rows of a closed loop's table are made for it. Two to three
times what was measured."""

DRAIN_ROWS = 65536


@dataclass(frozen=True, slots=True)
class WirePlan:
    """Where and what to send, ready to be put on the wire.

    Attributes:
        host: a resolved address; `server_name` is what the URL said, for TLS and HTTP's Host.
        payloads: per image: a whole HTTP/1.1 request, or a serialised ModelInferRequest.
        metadata: gRPC's, per call.
        tls: None, or whether and by which PEM file ("" for the system's) the server is checked.
    """

    is_grpc: bool
    host: str
    port: int
    server_name: str
    payloads: tuple[bytes, ...]
    metadata: tuple[tuple[str, str], ...] = ()
    tls: TlsPlan | None = None
    traced: bool = False
    timeout_s: float = 30.0
    max_connections: int = 4096


@dataclass(frozen=True, slots=True)
class TlsPlan:
    ca: str
    insecure: bool


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker's part of a run. Times are nanoseconds from the run's start.

    Attributes:
        arrivals: int64, ascending; None in a closed loop.
        choices: the image of each request, in the order of its rows.
        concurrency, samples: of a closed loop, this worker's share.
        count: requests that this worker's closed loop sends after the warm-up.
        end_ns: when a closed loop stops sending; None if only `count` stops it.
    """

    wire: WirePlan
    arrivals: NDArray[np.int64] | None
    choices: NDArray[np.uint16]
    concurrency: int
    samples: int
    count: int | None
    warmup_ns: int
    end_ns: int | None
    core: int | None = None

    @property
    def capacity(self) -> int:
        return len(self.choices)


def worker_plans(spec: LoadSpec, wire: WirePlan) -> list[WorkerPlan]:
    """The run cut into its workers' parts, which together are all of it."""
    images = len(wire.payloads)
    weights = (
        (1.0,) * images if spec.target.payload == "tensor" else tuple(image.weight for image in spec.images)
    )
    warmup_ns = round(spec.warmup_s * 1e9)
    end_ns = None if spec.duration_s is None else warmup_ns + round(spec.duration_s * 1e9)
    cores = [spec.cores[i % len(spec.cores)] if spec.cores else None for i in range(spec.workers)]
    if isinstance(spec.arrivals, ClosedLoop):
        return [
            WorkerPlan(
                wire=wire,
                arrivals=None,
                choices=choose_images(weights, _closed_capacity(spec, worker), spec.seed, worker),
                concurrency=_part(spec.arrivals.concurrency, worker, spec.workers),
                samples=spec.arrivals.samples,
                count=None if spec.count is None else _part(spec.count, worker, spec.workers),
                warmup_ns=warmup_ns,
                end_ns=end_ns,
                core=cores[worker],
            )
            for worker in range(spec.workers)
        ]
    times = schedule(spec.arrivals, spec.limits, spec.seed)
    choices = choose_images(weights, len(times), spec.seed)
    return [
        WorkerPlan(
            wire=wire,
            arrivals=share(times, worker, spec.workers),
            choices=share(choices, worker, spec.workers),
            concurrency=0,
            samples=1,
            count=None,
            warmup_ns=warmup_ns,
            end_ns=end_ns,
            core=cores[worker],
        )
        for worker in range(spec.workers)
    ]


def _part(whole: int, worker: int, workers: int) -> int:
    return whole // workers + (worker < whole % workers)


def _closed_capacity(spec: LoadSpec, worker: int) -> int:
    """Rows for a closed loop of unknown speed."""
    warmup = round(spec.warmup_s * MOST_PER_SECOND)
    assert isinstance(spec.arrivals, ClosedLoop)
    in_flight = spec.arrivals.concurrency * spec.arrivals.samples
    if spec.count is not None:
        return warmup + _part(spec.count, worker, spec.workers) + in_flight
    assert spec.duration_s is not None
    return warmup + round(spec.duration_s * MOST_PER_SECOND) + in_flight + DRAIN_ROWS
