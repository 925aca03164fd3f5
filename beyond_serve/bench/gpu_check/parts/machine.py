"""On what everything else is measured, and what the device's smallest steps cost."""

from __future__ import annotations

import asyncio
import platform
import queue
import statistics
import threading
import time
from collections.abc import Callable
from importlib import metadata

from beyond_serve.bench.gpu_check.closed_loop import run_loop
from beyond_serve.bench.gpu_check.device_memory import DeviceMemory
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.nvjpeg import nvjpeg_facts
from beyond_serve.bench.gpu_check.nvml import nvml_facts
from beyond_serve.bench.gpu_check.site import Site
from beyond_serve.engines.cuda.graphs import capture_replay
from beyond_serve.engines.cuda.runtime import CudaRuntime

PACKAGES = (
    *("torch", "torchvision", "timm", "triton", "numpy", "cuda-bindings", "cuda-core", "cupy-cuda13x"),
    *("onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "uvloop", "httptools", "orjson", "grpcio"),
)
_MEGABYTES = 256


def run(site: Site, record: Recorder) -> None:
    # What needs no working device first: it may tell why there is none.
    record.facts(
        {
            "uname": " ".join(platform.uname()),
            **nvml_facts(site.device),
            **nvjpeg_facts(),
            "packages": versions(),
        }
    )
    measure(site.runtime(), record, quick=site.quick)


def measure(runtime: CudaRuntime, record: Recorder, *, quick: bool) -> None:
    facts = runtime.facts
    record.facts(
        {
            "device": facts.name,
            "capability": f"{facts.capability[0]}.{facts.capability[1]}",
            "memory GiB": round(facts.memory_bytes / 2**30, 1),
        }
    )
    copies(runtime, record, 2**20 * (16 if quick else _MEGABYTES), 5 if quick else 20)
    steps(runtime, record, 200 if quick else 2000)


def versions() -> dict[str, str]:
    """Of the packages that matter and are installed."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def copies(runtime: CudaRuntime, record: Recorder, nbytes: int, times: int) -> None:
    """GB/s between pinned memory and the device, by the device's own clock."""
    rows = []
    with DeviceMemory(runtime) as memory:
        device = memory.room(nbytes)
        host = memory.pinned(nbytes)
        address = host.ctypes.data
        begun, ended = runtime.create_event(), runtime.create_event()
        memory.callback(runtime.destroy_event, begun)
        memory.callback(runtime.destroy_event, ended)
        for name, copy, target, source in (
            ("host to device", runtime.upload, device, address),
            ("device to host", runtime.download, address, device),
        ):
            spans = []
            for _ in range(times):
                runtime.record(begun, memory.stream)
                copy(target, source, nbytes, memory.stream)
                runtime.record(ended, memory.stream)
                runtime.wait(ended)
                spans.append(max(1, runtime.elapsed_ns(begun, ended)))
            rows.append((name, nbytes // 2**20, nbytes / statistics.median(spans), nbytes / max(spans)))
    record.table("Pinned copies", ("direction", "MiB", "GB/s median", "GB/s slowest"), rows)


def steps(runtime: CudaRuntime, record: Recorder, times: int) -> None:
    """Microseconds of what every batch does."""
    with DeviceMemory(runtime) as memory:
        device, host = memory.room(256), memory.pinned(256)
        stream, event = memory.stream, runtime.create_event()
        memory.callback(runtime.destroy_event, event)
        graph = capture_replay(runtime, stream, lambda: runtime.upload(device, host.ctypes.data, 256, stream))
        memory.callback(graph.close)

        def launched_and_waited() -> None:
            graph()
            runtime.record(event, stream)
            runtime.wait(event)

        def recorded_and_waited() -> None:
            runtime.record(event, stream)
            runtime.wait(event)

        def replayed() -> None:
            graph()
            runtime.synchronize(stream)

        rows = [
            ("launch a graph, wait for an event asleep", *spread(launched_and_waited, times)),
            ("launch a graph, synchronise the stream", *spread(replayed, times)),
            ("record an event, wait for it asleep", *spread(recorded_and_waited, times)),
            ("launch a graph, wait for nothing", *spread(graph, min(times, 500))),
        ]
        runtime.synchronize(stream)
    rows.append(("thread to event loop: call_soon_threadsafe", *run_loop(_wake_ups(times))))
    record.table("Small steps", ("step", "median us", "99th percentile us"), rows)


def spread(call: Callable[[], object], times: int) -> tuple[float, float]:
    """Median and 99th percentile of `times` calls, in microseconds."""
    spans = []
    for _ in range(times):
        started = time.perf_counter_ns()
        call()
        spans.append((time.perf_counter_ns() - started) / 1000)
    return _spread(spans)


async def _wake_ups(times: int) -> tuple[float, float]:
    """A thread that hears from a queue and answers through the loop: its answer's way alone."""
    loop = asyncio.get_running_loop()
    inbox: queue.SimpleQueue[asyncio.Future[int] | None] = queue.SimpleQueue()

    def answer() -> None:
        while (future := inbox.get()) is not None:
            loop.call_soon_threadsafe(future.set_result, time.perf_counter_ns())

    thread = threading.Thread(target=answer)
    thread.start()
    spans = []
    for _ in range(times):
        future = loop.create_future()
        inbox.put(future)
        sent = await future
        spans.append((time.perf_counter_ns() - sent) / 1000)
    inbox.put(None)
    thread.join()
    return _spread(spans)


def _spread(spans: list[float]) -> tuple[float, float]:
    ordered = sorted(spans)
    return statistics.median(ordered), ordered[len(ordered) * 99 // 100]
