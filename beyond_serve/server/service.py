"""The running server: what is started in which order, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable

from beyond_serve.batching import LoopClock
from beyond_serve.engines.collector import settle_collector
from beyond_serve.engines.cores import available_cores
from beyond_serve.preprocess.image_pool import ImagePool
from beyond_serve.server.announce import announce_models
from beyond_serve.server.config import ModelConfig, ServerConfig
from beyond_serve.server.devices import Devices
from beyond_serve.server.loading import Shared, open_model
from beyond_serve.server.loop_lag import LoopLag
from beyond_serve.server.metrics import Metrics
from beyond_serve.server.model import Model
from beyond_serve.server.otel import SpanSink, open_span_sink
from beyond_serve.server.repository import ModelRepository
from beyond_serve.server.stage import PreprocessStage
from beyond_serve.server.trace_file import TraceFile, open_trace_file
from beyond_serve.server.transports import Transports

log = logging.getLogger(__name__)

TRACE_FLUSH_S = 1.0


class Service:
    """Owns everything a server consists of. Lives on one event loop.

    Order of start: trace file, models, transports: nothing listens before it can answer. Order of
    stop: transports stop accepting and answer what was accepted, then models, then the trace file and
    the spans.
    """

    def __init__(self, config: ServerConfig, say: Callable[[str], None]) -> None:
        self.config = config
        self.stopping = False
        self._say = say
        self._loop = asyncio.get_running_loop()
        clock = LoopClock(self._loop)
        workers = config.decode_threads or available_cores()
        self._pool = ImagePool(workers, self._loop)
        stage = PreprocessStage(self._pool, workers, clock, int(config.decode_memory_mb * 1024 * 1024))
        devices = Devices(config.models, config.device_batches)
        self.repository = ModelRepository(config.models, self._open, self._loaded, self._unloaded)
        self._shared = Shared(self._loop, clock, stage, workers, devices, self.repository.find)
        self._lag = LoopLag(clock)
        self._plans: dict[str, str] = {}
        self._trace_file: TraceFile | None = None
        self._spans: SpanSink | None = None
        self._flush: asyncio.TimerHandle | None = None
        self.metrics = Metrics(self._lag)
        self.transports = Transports(config, self.repository, self.metrics, lambda: self.stopping)

    async def start(self) -> None:
        """Load the models and listen.

        Raises:
            ConfigError, ModelLoadError: it cannot start; what had been started is stopped.
        """
        began = time.monotonic()
        try:
            if self.config.trace_file:
                self._trace_file = open_trace_file(self.config.trace_file, self.config.trace_format)
                self._flush_traces()
            self._spans = open_span_sink()
            self.transports.check()
            for model in self.config.models:
                self._say(f"loading {model.name} from {model.source} …")
                await self.repository.load(model.name)
            await self.transports.start()
        except BaseException:
            await self._release()
            raise
        self._lag.start()
        for line in announce_models(self.repository.models, self._plans):
            self._say(line)
        for line in self.transports.announce(self.repository.models):
            self._say(line)
        self._say(f"ready in {time.monotonic() - began:.1f} s; Ctrl-C stops")

    async def stop(self) -> bool:
        """Answer what was accepted, within `drain_seconds`; whether that was done in time."""
        self.stopping = True
        drained = await self.transports.stop(self.config.drain_seconds)
        await self._release()
        return drained

    async def _release(self) -> None:
        self._lag.stop()
        await self.transports.abort()
        await self.repository.close()
        self._pool.close()
        if self._flush is not None:
            self._flush.cancel()
        if self._trace_file is not None:
            await self._loop.run_in_executor(None, self._trace_file.close)
            self._trace_file = None
        if self._spans is not None:
            await self._loop.run_in_executor(None, self._spans.close)
            self._spans = None

    async def _open(self, config: ModelConfig) -> Model:
        model, plan_from = await open_model(config, self._shared)
        model.trace_sink = self._trace_file
        model.span_sink = self._spans
        self._plans[model.name] = plan_from
        return model

    def _loaded(self, model: Model) -> None:
        self.metrics.models[model.name] = model.metrics
        for warning in model.info.warnings:
            log.warning("%s: %s", model.name, warning)

    def _unloaded(self, model: Model) -> None:
        self.metrics.models.pop(model.name, None)

    def _flush_traces(self) -> None:
        if self._trace_file is not None:
            self._trace_file.flush()
            self._flush = self._loop.call_later(TRACE_FLUSH_S, self._flush_traces)


class Stop:
    """The signals' meaning: the first asks to drain, a second one ends at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, say: Callable[[str], None]) -> None:
        self.asked = asyncio.Event()
        self._say = say
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        if self.asked.is_set():
            self._say("stopping at once")
            # Not by unwinding: a thread inside an engine could hold that up for as long as it likes.
            os._exit(1)
        self._say(f"{signal.Signals(number).name}: answering what was accepted, then stopping")
        self.asked.set()


async def serve(config: ServerConfig, say: Callable[[str], None]) -> int:
    """Serve until a signal; the exit status: 0 if everything accepted was answered."""
    stop = Stop(asyncio.get_running_loop(), say)
    service = Service(config, say)
    starting = asyncio.ensure_future(service.start())
    asked = asyncio.ensure_future(stop.asked.wait())
    await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return 0
    if starting.exception() is not None:
        asked.cancel()
        await starting
    settle_collector()
    await asked
    if await service.stop():
        return 0
    say(f"not everything was answered within {config.drain_seconds:g} s")
    return 1
