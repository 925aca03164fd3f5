"""What the parts of a server do alone: its preprocessing pool, and its engine's contexts.

Run as a program (`python -m beyond_serve.bench.parts`) it measures both for one model in a process of its
own, which can be pinned to the cores that the server has.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.cores import available_cores
from beyond_serve.engines.load import load_engine
from beyond_serve.engines.protocol import Engine
from beyond_serve.engines.slots import SlotRows
from beyond_serve.errors import BeyondError
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.image_pool import ImagePool, Job, Stamps
from beyond_serve.server.batch_policy import largest_batch
from beyond_serve.server.cli import parse_command_line
from beyond_serve.server.config import build_config
from beyond_serve.server.loading import read_source


@dataclass(frozen=True, slots=True)
class Rate:
    """Images per second, and the CPU seconds of all threads that an image took."""

    per_s: float
    cpu_s: float


async def preprocess_rate(
    host: HostPreprocessor, body: bytes, seconds: float, threads: int | None = None
) -> Rate:
    """The server's own pool, kept fed; a thread per core if `threads` does not say otherwise.

    Raises:
        BeyondError: the image cannot be decoded.
    """
    loop = asyncio.get_running_loop()
    threads = threads or available_cores()
    pool = ImagePool(threads, loop)
    done = loop.create_future()
    header = read_header(body)
    finished = 0
    end = time.monotonic() + seconds

    def submit(row: NDArray[np.uint8]) -> None:
        pool.submit(Job(host, body, header, row, functools.partial(next_one, row)))

    def next_one(row: NDArray[np.uint8], _stamps: Stamps | None, error: BaseException | None) -> None:
        nonlocal finished
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
            return
        finished += 1
        if time.monotonic() < end:
            submit(row)
        else:
            done.set_result(None)

    began, cpu = time.monotonic(), time.process_time()
    for _ in range(4 * threads):
        submit(np.zeros(host.plan.output_shape, np.uint8))
    try:
        await done
        return Rate(finished / (time.monotonic() - began), (time.process_time() - cpu) / finished)
    finally:
        pool.close()


def infer_rate(
    engine: Engine, shape: tuple[int, int, int], seconds: float, batch: int = 32, contexts: int = 1
) -> Rate:
    """Full batches of rows that already lie in memory, by `contexts` contexts, a thread each.

    Raises:
        EngineError: a batch failed.
    """
    rows = np.random.default_rng(0).integers(0, 256, (batch, *shape), np.uint8)
    ready = threading.Barrier(contexts + 1)

    def work() -> int:
        context = engine.create_context()
        context.infer(SlotRows(rows, range(batch)), BatchTiming())
        ready.wait()
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            context.infer(SlotRows(rows, range(batch)), BatchTiming())
            count += batch
        context.close()
        return count

    with ThreadPoolExecutor(contexts) as pool:
        workers = [pool.submit(_abort_on_error, ready, work) for _ in range(contexts)]
        try:
            ready.wait()
        except threading.BrokenBarrierError:
            for worker in workers:
                worker.result()
            raise
        began, cpu = time.monotonic(), time.process_time()
        done = sum(worker.result() for worker in workers)
        return Rate(done / (time.monotonic() - began), (time.process_time() - cpu) / done)


def _abort_on_error(ready: threading.Barrier, work: Callable[[], int]) -> int:
    """A context that fails must not leave the others waiting at the barrier."""
    try:
        return work()
    except BaseException:
        ready.abort()
        raise


@dataclass(frozen=True, slots=True)
class Parts:
    """What was found of one model.

    Attributes:
        preprocess: one per image; None where the model's images are not preprocessed on the host.
        infer: None where there is nothing to keep in memory for it.
        batch: at which `infer` was measured, the server's largest.
        on_cpu: inference takes the same cores as preprocessing does.
    """

    preprocess: list[Rate] | None
    infer: Rate | None
    batch: int
    decode_threads: int
    instances: int
    engine: str
    precision: str
    device: str
    simulated: bool
    on_cpu: bool


def measure_parts(flags: Sequence[str], bodies: Sequence[bytes], seconds: float) -> Parts:
    """The parts of the server that `flags` would start, which name one model.

    Raises:
        BeyondError: the model cannot be loaded, or an image not decoded.
    """
    command = parse_command_line(flags)
    server = build_config(command.models, command.options, command.config)
    config = server.models[0]
    described = read_source(config)
    engine = load_engine(described.engine)
    info = engine.info
    threads = server.decode_threads or available_cores()
    batch = largest_batch(config, info)
    preprocess, infer = None, None
    if described.plan is not None and info.image_shape is not None:
        host = HostPreprocessor(described.plan, config.fidelity)
        preprocess = [asyncio.run(preprocess_rate(host, body, seconds, threads)) for body in bodies]
        infer = infer_rate(engine, info.image_shape, seconds, batch, config.instances)
    engine.close()
    return Parts(
        preprocess=preprocess,
        infer=infer,
        batch=batch,
        decode_threads=threads,
        instances=config.instances,
        engine=info.engine,
        precision=info.precision,
        device=info.device,
        simulated=info.simulated,
        on_cpu=info.device == "cpu" and not info.simulated,
    )


def parts_from_json(text: bytes) -> Parts:
    """What the program printed."""
    found = orjson.loads(text)
    preprocess, infer = found.pop("preprocess"), found.pop("infer")
    return Parts(
        preprocess=None if preprocess is None else [Rate(**rate) for rate in preprocess],
        infer=None if infer is None else Rate(**infer),
        **found,
    )


def main() -> int:
    """From standard input JSON with `flags`, `image_files` and `seconds`; to standard output `Parts`."""
    asked = orjson.loads(sys.stdin.buffer.read())
    bodies = [Path(file).read_bytes() for file in asked["image_files"]]
    try:
        found = measure_parts(asked["flags"], bodies, asked["seconds"])
    except BeyondError as error:
        sys.stderr.write(f"{error.message}{'; ' + error.hint if error.hint else ''}\n")
        return 2
    sys.stdout.write(orjson.dumps(asdict(found)).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
