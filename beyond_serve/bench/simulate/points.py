"""What a run folder keeps of a simulated run, and how its points are found again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import Any

import numpy as np

from beyond_serve.bench.simulate.arrivals import parse_arrivals
from beyond_serve.bench.simulate.instance import Latency
from beyond_serve.bench.simulate.result import SimResult
from beyond_serve.bench.simulate.scenario import Scenario, capacity
from beyond_serve.bench.simulate.simulation import simulate
from beyond_serve.engines.sim_engine import SimTable
from beyond_serve.server.config import ModelConfig

Point = Mapping[str, Any]

UNAWARE = "-unaware"
"""After a policy's name: the server knows no deadlines, as where clients do not tell them."""


def scenario(
    table: SimTable,
    policy: str,
    load: float,
    *,
    requests: int,
    arrivals: str = "poisson",
    slo_ms: float | None = None,
    instances: int = 1,
    max_batch: int = 0,
    max_delay_us: int = 0,
    max_queue: int = 1024,
    jitter: float = 0.0,
    seed: int = 0,
) -> Scenario:
    """Ready tensors at `load` times the capacity of all instances.

    Raises:
        ConfigError: no such policy or arrivals, or numbers out of range.
    """
    latency = Latency(table, jitter)
    rate = load * capacity(latency, max_batch or table.latencies[-1][0], instances)
    name = policy.removesuffix(UNAWARE)
    return Scenario(
        latency,
        ModelConfig(
            "simulated",
            f"sim:{table.name}",
            policy=name,
            instances=instances,
            max_batch=max_batch,
            max_delay_us=max_delay_us,
            max_queue=max_queue,
        ),
        parse_arrivals(arrivals)(rate),
        requests,
        slo_ms,
        told=policy == name,
        seed=seed,
    )


def measure(given: Scenario, labels: Mapping[str, object]) -> dict[str, Any]:
    """Simulate, and the point to keep."""
    began_s = perf_counter()
    result = simulate(given)
    return point(result, labels, perf_counter() - began_s)


def point(result: SimResult, labels: Mapping[str, object], took_s: float) -> dict[str, Any]:
    given, sizes = result.scenario, result.batch_sizes
    seconds, waiting = result.queue_depth()
    return {
        "labels": dict(labels),
        "load": result.summary(),
        "simulation": {
            "capacity_per_s": capacity(given.latency, given.max_batch, given.model.instances),
            "busy": result.busy,
            "wasted": result.record.wasted,
            "releases": result.record.releases,
            "batch_size": {
                "p1": float(np.percentile(sizes, 1)) if len(sizes) else None,
                "p50": float(np.percentile(sizes, 50)) if len(sizes) else None,
                "p99": float(np.percentile(sizes, 99)) if len(sizes) else None,
            },
            "queue": {"seconds": seconds, "waiting": waiting},
            "requests_per_s": given.requests / took_s,
        },
    }


def having(points: Iterable[Point], **labels: object) -> list[Point]:
    """Those whose labels are these, whatever else they are."""
    wanted = labels.items()
    return [found for found in points if all(found["labels"].get(name) == value for name, value in wanted)]


def values(points: Iterable[Point], path: str) -> list[float]:
    """One number of each, by its path ("load.latency_ms.p99"); without those that lack it."""
    found = []
    for value in points:
        inner: Any = value
        for name in path.split("."):
            inner = inner.get(name) if isinstance(inner, Mapping) else None
        if inner is not None:
            found.append(float(inner))
    return found
