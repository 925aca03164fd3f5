"""What is simulated, checked once; and the capacity that loads are told in."""

from __future__ import annotations

from dataclasses import dataclass

from beyond_serve.batching import BatchCost
from beyond_serve.batching.cost import grid
from beyond_serve.bench.simulate.arrivals import Closed, Open
from beyond_serve.bench.simulate.decoders import Decoding
from beyond_serve.bench.simulate.instance import Latency
from beyond_serve.engines.sim_engine import SimTable
from beyond_serve.errors import ConfigError
from beyond_serve.server.config import ModelConfig

POLICIES = ("fixed", "adaptive", "deadline", "deferred")

VIT_BASE_LIKE = SimTable("vit-base-like", (224, 224, 3), 1000, ((1, 3.0), (8, 6.0), (32, 18.0)))
"""The issue's table: what ViT-Base took on Beyond's card, more or less."""

H200_VIT_BASE_LIKE = SimTable("h200-vit-base-like", (224, 224, 3), 1000, ((1, 1.0), (8, 1.6), (64, 5.12)))
"""12,500 images/s at best: the middle of what ViT-Base's 35.2 GFLOP and a measured 788 TFLOP/s of bf16 make
likely on an H200. An assumption, not a measurement."""

TABLES = {table.name: table for table in (VIT_BASE_LIKE, H200_VIT_BASE_LIKE)}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulated run.

    Attributes:
        latency: of every instance.
        model: what the server would be started with; of it the policy, instances, batch, delay, queue and
            priorities count.
        requests: how many arrive.
        slo_ms: an answer within it is a good one; None for no bound.
        told: each request's deadline is the SLO, and the server knows it.
        priorities: shares of the traffic by level, the first level first; empty for all at the default.
        decoding: images and their decoders; None for ready tensors.
        grain_us: of the event loop's timers.
        outside_ns: what every answer takes besides queue, decoders and batch (network, HTTP, reply); part of
            each latency, and of no decision.
        warmup: share of the requests, from the first, that no figure counts.
    """

    latency: Latency
    model: ModelConfig
    arrivals: Open | Closed
    requests: int
    slo_ms: float | None = None
    told: bool = True
    priorities: tuple[float, ...] = ()
    decoding: Decoding | None = None
    grain_us: int = 1000
    outside_ns: int = 0
    warmup: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model.policy not in POLICIES:
            raise ConfigError(f"no policy is called '{self.model.policy}'", ", ".join(POLICIES))
        if self.requests < 1 or not 0 <= self.warmup < 1:
            raise ConfigError("a simulation needs requests, and some of them after the warm-up")
        if len(self.priorities) > self.model.priority_levels or sum(self.priorities) < 0:
            raise ConfigError(f"{len(self.priorities)} shares for {self.model.priority_levels} levels")
        if self.slo_ms is not None and self.slo_ms <= 0:
            raise ConfigError(f"an SLO of {self.slo_ms:g} ms cannot be met", "give one above 0")

    @property
    def max_batch(self) -> int:
        """The model's, or the table's largest: beyond it the table is a guess."""
        return self.model.max_batch or self.latency.table.latencies[-1][0]

    @property
    def cost(self) -> BatchCost:
        """l(n) as the server knows it after measuring at its start."""
        latencies_ns = self.latency.by_size(self.max_batch)
        measured = {size: latencies_ns[size] for size in grid(self.max_batch) if size <= self.max_batch}
        return BatchCost(self.max_batch, measured)


def capacity(latency: Latency, max_batch: int, instances: int) -> float:
    """Requests/s of `instances` at the best batch of at most `max_batch`."""
    sizes = enumerate(latency.by_size(max_batch)[1:], 1)
    return instances * max(size / took_ns for size, took_ns in sizes) * 1e9
