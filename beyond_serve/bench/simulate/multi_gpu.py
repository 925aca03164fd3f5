"""Beyond's Fig. 9: throughput over the number of GPUs on one host, medium and large images, CPU and GPU
preprocessing, inference alone. Simulated: no machine with several GPUs was at hand.

Rates are inputs here, and the curves' shape follows from them: what is shown is that one shared pool of
decoding workers, the real stage and batcher give Beyond's picture, and where each curve bends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from beyond_serve.bench.simulate.arrivals import Closed
from beyond_serve.bench.simulate.decoders import Decoding, SimImage
from beyond_serve.bench.simulate.instance import Latency
from beyond_serve.bench.simulate.points import measure
from beyond_serve.bench.simulate.scenario import H200_VIT_BASE_LIKE, VIT_BASE_LIKE, Scenario
from beyond_serve.engines.sim_engine import SimTable
from beyond_serve.server.config import ModelConfig

INFERENCE = "inference only"
CURVES = ("medium, CPU", "medium, GPU", "large, CPU", "large, GPU", INFERENCE)
_DECODERS_PER_GPU = 8


@dataclass(frozen=True, slots=True)
class Host:
    """One host with any number of GPUs.

    Attributes:
        cores: that decode, shared by all GPUs.
        cpu_ms: decoding and transforming one image on a core, medium and large.
        host_ms: a core's part where the GPU decodes: parsing, entropy decoding or copies.
        gpu_rate: images/s that one GPU decodes.
        assumed: where the numbers come from, for the reader.
    """

    name: str
    table: SimTable
    cores: int
    gpus: tuple[int, ...]
    cpu_ms: tuple[float, float]
    host_ms: tuple[float, float]
    gpu_rate: tuple[float, float]
    assumed: str

    def image(self, curve: str) -> SimImage:
        large = curve.startswith("large")
        size = (9_528_000, 3564, 2880) if large else (121_000, 500, 375)
        if curve.endswith("CPU"):
            return SimImage(curve, *size, host_ms=self.cpu_ms[large])
        device_ms = _DECODERS_PER_GPU * 1e3 / self.gpu_rate[large]
        return SimImage(curve, *size, host_ms=self.host_ms[large], device_ms=device_ms)


BEYOND_LIKE = Host(
    "a host like Beyond's",
    VIT_BASE_LIKE,
    cores=24,
    gpus=(1, 2, 3, 4),
    cpu_ms=(2.5, 80.0),
    host_ms=(0.3, 15.0),
    gpu_rate=(4000.0, 700.0),
    assumed=(
        "24 cores; a core decodes 400 medium or 12.5 large images/s; GPU decoding: 4,000 medium or 700 large "
        "images/s a GPU and 0.3 or 15 ms of a core each; chosen so that Beyond's picture can come out"
    ),
)
H200_LIKE = Host(
    "a host of H200-like GPUs",
    H200_VIT_BASE_LIKE,
    cores=192,
    gpus=(1, 2, 4, 8, 16, 32, 64),
    cpu_ms=(0.92, 56.6),
    host_ms=(0.1, 3.0),
    gpu_rate=(15_500.0, 284.0),
    assumed=(
        "192 cores at our own decoder's measured 0.92 and 56.6 ms; GPU decoding at 2.9 Gpixel/s a GPU "
        "(torchvision's batched 7,834 images/s of 551x676 on an A100) and 0.1 or 3 ms of a core each; "
        "ViT-Base at 12,500 images/s a GPU"
    ),
)
HOSTS = (BEYOND_LIKE, H200_LIKE)


def figure_9(quick: bool, seed: int) -> Iterator[dict[str, Any]]:
    """The points, one after the other."""
    for host in HOSTS:
        for gpus in host.gpus[:4] if quick else host.gpus:
            for curve in CURVES:
                labels = {"figure": 9, "host": host.name, "curve": curve, "gpus": gpus}
                yield measure(_scenario(host, curve, gpus, quick, seed), labels)


def _scenario(host: Host, curve: str, gpus: int, quick: bool, seed: int) -> Scenario:
    largest = host.table.latencies[-1][0]
    # Three batches for each GPU and a job for each worker: enough that nobody ever waits for the clients.
    concurrency = 3 * largest * gpus + 8 * host.cores
    decoding = None
    if curve != INFERENCE:
        on_gpu = 0 if curve.endswith("CPU") else gpus * _DECODERS_PER_GPU
        decoding = Decoding((host.image(curve),), host.cores, on_gpu)
    model = ModelConfig(
        "simulated",
        f"sim:{host.table.name}",
        instances=gpus,
        max_delay_us=2000,
        max_queue=concurrency,
        max_queue_mb=1e6,
    )
    return Scenario(
        Latency(host.table),
        model,
        Closed(concurrency),
        # Batches of all GPUs tend to end together: many of them, so that the window's edges weigh little.
        4 * concurrency if quick else 8 * concurrency + 60_000,
        decoding=decoding,
        warmup=0.5,
        seed=seed,
    )
