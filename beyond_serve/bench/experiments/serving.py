"""What experiments share: a server of their own with given flags, and one load on it as a point."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from beyond_serve.bench.experiments.counters import Counters, read_counters
from beyond_serve.bench.experiments.cpu_time import CpuMeter, CpuShares, busy_seconds
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.load.arrivals import Arrivals
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.load.result import LoadResult
from beyond_serve.bench.load.run import run_load
from beyond_serve.bench.load.spec import LoadProgress, LoadSpec, Payload, Protocol, Target
from beyond_serve.bench.processes import ServerProcess, beyond_serve_command, free_port, started
from beyond_serve.bench.runs.tables import number
from beyond_serve.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model to serve: `name` labels its points, `source` is what `beyond-serve --model` takes."""

    name: str
    source: str

    @property
    def simulated(self) -> bool:
        return self.source.startswith(("sim:", "null:"))


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the server and the load generator run on."""

    server: tuple[int, ...]
    load: tuple[int, ...]

    @property
    def apart(self) -> bool:
        return not set(self.server) & set(self.load)

    def sentence(self) -> str:
        if not self.apart:
            return "one core: the load generator shares it with the server, and takes from what it measures"
        return f"the load generator has {_listed(self.load)} to itself, the server {_listed(self.server)}"


def split_cores(available: Sequence[int]) -> Cores:
    """The last core for the generator and the others for the server; the only one for both."""
    cores = tuple(sorted(available))
    return Cores(cores[:-1], cores[-1:]) if len(cores) > 1 else Cores(cores, cores)


def own_cores() -> Cores:
    return split_cores(sorted(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class Offer:
    """One load: what is sent, how, and for how long.

    Attributes:
        payload: "image" sends `image` to /predict; "tensor" the model's own input over the Open Inference
            Protocol, and no image.
    """

    arrivals: Arrivals
    image: MixImage | None
    duration_s: float | None
    warmup_s: float
    count: int | None = None
    seed: int = 0
    payload: Payload = "image"
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One load's result with what was seen of the server meanwhile.

    Attributes:
        counters: of the server, from before the warm-up to after the last answer.
    """

    result: LoadResult
    cpu: CpuShares
    counters: Counters

    def point(self, labels: Mapping[str, object], **fields: object) -> dict[str, object]:
        """What an experiment keeps: labels, the load's summary, and the server's side."""
        return {
            "labels": dict(labels),
            "load": self.result.summary(),
            "spec": self.result.spec.describe(),
            "histogram": self.result.encoded_histogram(),
            "server": {"cpu": self.cpu.own, "others_cpu": self.cpu.others, **self.counters.describe()},
            **fields,
        }

    def go_on(self) -> None:
        """Call when the point is kept.

        Raises:
            KeyboardInterrupt: this load was cut short by one, so that no other is wanted.
        """
        if self.result.interrupted:
            raise KeyboardInterrupt


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs one model, and the cores around it."""

    model: ModelSource
    process: ServerProcess
    cores: Cores
    flags: tuple[str, ...]

    def offer(self, offer: Offer, reporter: Reporter, what: str) -> Measured:
        """Offer one load and measure; `what` is shown meanwhile.

        Raises:
            BeyondError: the server refuses the first request or ended, or the generator cannot start.
        """
        reporter.status(what)
        meter = CpuMeter(self.process.cpu_seconds, lambda: busy_seconds(self.cores.server))

        def follow(progress: LoadProgress) -> None:
            meter.sample(progress)
            reporter.progress(progress.elapsed_s, progress.total_s, progress_line(progress))

        before = self.counters()
        result = run_load(self._spec(offer), follow)
        return Measured(result, meter.shares(len(self.cores.server)), self.counters().since(before))

    def counters(self) -> Counters:
        """What the server has counted so far.

        Raises:
            ConfigError: it does not answer.
        """
        try:
            with urllib.request.urlopen(f"{self.process.url}/metrics", timeout=60) as reply:  # noqa: S310 - loopback
                return read_counters(reply.read().decode(), self.model.name)
        except OSError:
            code = self.process.process.poll()
            how = "does not answer any more" if code is None else f"ended with {code}"
            raise ConfigError(
                f"the server with {self.model.name} {how}", "the points before this one are kept"
            ) from None

    def _spec(self, offer: Offer) -> LoadSpec:
        protocol: Protocol = "predict" if offer.payload == "image" else "v2-http"
        return LoadSpec(
            target=Target(self.process.url, protocol, self.model.name, payload=offer.payload),
            arrivals=offer.arrivals,
            images=() if offer.image is None else (offer.image,),
            duration_s=offer.duration_s,
            count=offer.count,
            warmup_s=offer.warmup_s,
            seed=offer.seed,
            timeout_s=offer.timeout_s,
            cores=self.cores.load if self.cores.apart else (),
            max_connections=8192,
        )


def progress_line(progress: LoadProgress) -> str:
    if progress.warming_up or progress.p50_ms is None or progress.p99_ms is None:
        return f"{progress.done:,} done, warming up" if progress.warming_up else f"{progress.done:,} done"
    return f"{progress.done:,} done, p50 {number(progress.p50_ms)} ms, p99 {number(progress.p99_ms)} ms"


@contextlib.contextmanager
def serving(model: ModelSource, cores: Cores, flags: Sequence[str] = ()) -> Iterator[Served]:
    """A server with `model` and `flags`, until the block ends.

    Raises:
        ConfigError: it did not start; with what it said.
    """
    port = free_port()
    arguments = ("--model", f"{model.name}={model.source}", "--http", f"127.0.0.1:{port}", "--grpc", "off")
    url = f"http://127.0.0.1:{port}"
    command = beyond_serve_command(*arguments, *flags)
    pinned = cores.server if cores.apart else None
    with started(f"beyond-serve with {model.name}", command, url, f"{url}/healthz", pinned) as process:
        yield Served(model, process, cores, tuple(flags))


def room_for(highest: int, image_bytes: int) -> tuple[str, ...]:
    """A server that refuses nothing up to `highest` at once: how much it can take is the question."""
    megabytes = 2 * highest * image_bytes / 2**20 + 64
    return (
        *("--max-queue", str(max(1024, 2 * highest)), "--max-queue-mb", f"{megabytes:.0f}"),
        *("--max-connections", str(max(4096, 2 * highest))),
    )


def gpu_gap(has_gpu: bool | None = None) -> str:
    """Why there is no column for GPU preprocessing."""
    found = Path("/proc/driver/nvidia/gpus").exists() if has_gpu is None else has_gpu
    why = "this version of the server decodes on the CPU only" if found else "this machine has no GPU"
    return f"GPU preprocessing (nvJPEG), which the paper shows beside the CPU's: {why}"


def _listed(cores: Sequence[int]) -> str:
    return ("core " if len(cores) == 1 else "cores ") + ", ".join(map(str, cores))
