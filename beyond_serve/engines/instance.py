"""Instances in this process: a thread each, or none for engines that answer at once."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Protocol

from beyond_serve.batching import Batch
from beyond_serve.engines.execution import run_batch
from beyond_serve.engines.protocol import Engine, ExecutionContext
from beyond_serve.engines.slots import SlotArena
from beyond_serve.errors import BeyondError, EngineError, InstanceLostError


class InstanceEvents(Protocol):
    """What becomes of an instance; every call comes on the event loop."""

    def instance_ready(self, instance: RunningInstance) -> None: ...

    def batch_done(self, instance: RunningInstance, batch: Batch) -> None: ...

    def instance_lost(self, instance: RunningInstance, batch: Batch | None, error: BeyondError) -> None:
        """The instance ended by itself, and with it `batch`."""
        ...


class RunningInstance(Protocol):
    """An instance of any kind; also a `batching.Instance`."""

    name: str
    device: str
    simulated: bool

    def start(self) -> None: ...

    def submit(self, batch: Batch) -> None: ...

    def prepare_tensors(self) -> None: ...

    def close(self) -> None:
        """Finish the batch in progress, then end. Blocks until it has."""
        ...


class InlineInstance:
    """Runs on the event loop, for engines whose `infer` takes microseconds (`EngineInfo.inline`)."""

    def __init__(self, name: str, engine: Engine, events: InstanceEvents) -> None:
        self.name = name
        self.device = engine.info.device
        self.simulated = engine.info.simulated
        self._engine = engine
        self._events = events
        self._context: ExecutionContext | None = None

    def start(self) -> None:
        self._context = self._engine.create_context()
        self._events.instance_ready(self)

    def submit(self, batch: Batch) -> None:
        """Run it and report, before this returns."""
        assert self._context is not None
        try:
            run_batch(self._context, self._engine.info, batch, None)
        except InstanceLostError as error:
            self._events.instance_lost(self, batch, error)
        else:
            self._events.batch_done(self, batch)

    def prepare_tensors(self) -> None:
        self._engine.prepare_tensors()

    def close(self) -> None:
        if self._context is not None:
            self._context.close()
            self._context = None


class ThreadInstance:
    """One thread that owns one execution context; engines release the GIL while they run.

    Guarantees: each batch taken is reported exactly once, as done or with the instance's loss. The
    thread wakes for a batch or for `close`, never to look.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        events: InstanceEvents,
        loop: asyncio.AbstractEventLoop,
        arena: SlotArena | None,
    ) -> None:
        self.name = name
        self.device = engine.info.device
        self.simulated = engine.info.simulated
        self._engine = engine
        self._events = events
        self._loop = loop
        self._arena = arena
        self._inbox: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name=f"instance-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        self._inbox.put(batch)

    def prepare_tensors(self) -> None:
        self._engine.prepare_tensors()

    def close(self) -> None:
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _main(self) -> None:
        batch: Batch | None = None
        try:
            context = self._engine.create_context()
            self._loop.call_soon_threadsafe(self._events.instance_ready, self)
            try:
                while (batch := self._inbox.get()) is not None:
                    run_batch(context, self._engine.info, batch, self._arena)
                    self._loop.call_soon_threadsafe(self._events.batch_done, self, batch)
            finally:
                context.close()
        except BaseException as error:  # whatever ends the thread must free who waits for it
            loss = (
                error if isinstance(error, BeyondError) else EngineError(f"{type(error).__name__}: {error}")
            )
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._events.instance_lost, self, batch, loss)
