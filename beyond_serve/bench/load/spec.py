"""What a load is: the target, the arrivals, the images and the limits, checked once."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Literal

from beyond_serve.bench.load.arrivals import Arrivals, ClosedLoop, Limits, Ramp, Replay
from beyond_serve.bench.load.images import ImageMix, check_mix
from beyond_serve.client.endpoint import Endpoint, parse_endpoint
from beyond_serve.errors import ConfigError

Protocol = Literal["predict", "v2-http", "v2-grpc"]
Payload = Literal["image", "tensor"]


@dataclass(frozen=True, slots=True)
class Target:
    """The server that is measured.

    Attributes:
        url: `http://HOST:PORT`, `https://…`, `grpc://…` or `grpcs://…`.
        protocol: `predict` is our own route; `v2-http` and `v2-grpc` are the Open Inference Protocol,
            as Triton, KServe and we speak it.
        model: "" is the server's only one.
        tls_insecure: do not check the server's certificate (not over gRPC).
        tls_ca: a PEM file with the authorities to trust, "" for the system's.
        payload: `image` sends encoded images; `tensor` sends the model's own input, random values of the
            shape that its metadata names (Open Inference Protocol only).
    """

    url: str
    protocol: Protocol = "predict"
    model: str = ""
    token: str = field(default="", repr=False)
    tls_insecure: bool = False
    tls_ca: str = ""
    payload: Payload = "image"

    def __post_init__(self) -> None:
        endpoint = self.endpoint()
        if endpoint.is_grpc != (self.protocol == "v2-grpc"):
            wanted = "grpc://HOST:PORT" if self.protocol == "v2-grpc" else "http://HOST:PORT"
            raise ConfigError(f"{self.url} does not fit the protocol {self.protocol}", f"write {wanted}")
        if self.payload == "tensor" and self.protocol == "predict":
            raise ConfigError("/predict takes images, not tensors", "choose v2-http or v2-grpc")

    def endpoint(self) -> Endpoint:
        """The URL, taken apart. Raises `ConfigError` if it is none."""
        verify = False if self.tls_insecure else (self.tls_ca or True)
        return parse_endpoint(self.url, self.token or None, verify)


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """One run.

    Attributes:
        duration_s: of what is measured, after the warm-up; None if `count` (or a recording) ends it.
        count: requests that are measured.
        warmup_s: load before the measured time, which no figure includes.
        workers: processes that send; each is one core's worth of load.
        cores: pin worker i to core `cores[i % len(cores)]`; empty leaves them to the system.
        slo_ms: latency from the schedule that a request must keep to count as good.
        timeout_s: of one request; it then counts as an error.
        traces: ask for the server's stages with every request, where the server is ours.
        max_connections: of each worker; requests beyond wait in the generator, which shows as lateness.
    """

    target: Target
    arrivals: Arrivals
    images: ImageMix
    duration_s: float | None = 10.0
    count: int | None = None
    warmup_s: float = 2.0
    workers: int = 1
    seed: int = 0
    slo_ms: float | None = None
    timeout_s: float = 30.0
    traces: bool = True
    cores: tuple[int, ...] = ()
    max_connections: int = 4096

    def __post_init__(self) -> None:
        if self.target.payload == "image":
            check_mix(self.images)
        if self.duration_s is None and self.count is None and not isinstance(self.arrivals, Replay):
            raise ConfigError("the run has no end", "give a duration or a count")
        for name in ("duration_s", "count", "slo_ms", "timeout_s", "workers", "max_connections"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value}", "give a number above 0")
        if not 0 <= self.warmup_s < math.inf or self.seed < 0:
            raise ConfigError("warmup_s and seed must be 0 or more")
        if self.cores and not set(self.cores) <= set(usable := available_core_numbers()):
            raise ConfigError(f"cannot pin to cores {list(self.cores)}", f"usable are {usable}")
        if isinstance(self.arrivals, ClosedLoop) and self.arrivals.concurrency < self.workers:
            raise ConfigError(
                f"{self.workers} workers cannot share a concurrency of {self.arrivals.concurrency}",
                "use fewer workers",
            )

    @property
    def limits(self) -> Limits:
        return Limits(self.warmup_s, self.duration_s, self.count)

    @property
    def is_closed(self) -> bool:
        return isinstance(self.arrivals, ClosedLoop)

    def describe(self) -> dict[str, object]:
        """What a reader must know to repeat the run; JSON-able, without the token and the images' bytes."""
        arrivals = self.arrivals
        shown: dict[str, object] = {"kind": type(arrivals).__name__}
        if isinstance(arrivals, Replay):
            shown |= {"arrivals": len(arrivals.times), "seconds": arrivals.times[-1]}
        elif isinstance(arrivals, Ramp):
            shown |= {"start": arrivals.start, "end": arrivals.end}
        else:
            shown |= {name: getattr(arrivals, name) for name in arrivals.__dataclass_fields__}
        return {
            "url": self.target.url,
            "protocol": self.target.protocol,
            "model": self.target.model,
            "payload": self.target.payload,
            "arrivals": shown,
            "images": [{"name": i.name, "bytes": len(i.data), "weight": i.weight} for i in self.images],
            **{
                name: getattr(self, name)
                for name in (
                    *("duration_s", "count", "warmup_s", "workers", "seed", "slo_ms", "timeout_s"),
                    *("traces", "cores", "max_connections"),
                )
            },
        }


def available_core_numbers() -> list[int]:
    """The cores that this process may use; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How a run stands. Percentiles are of what was answered so far, from the schedule, warm-up included.

    Attributes:
        offered: requests whose time has come.
        total_s: seconds of the whole run, None where a count ends it.
    """

    elapsed_s: float
    total_s: float | None
    warming_up: bool
    offered: int
    done: int
    in_flight: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
