"""An instance in a process of its own: a crash of the engine takes no more than its batch."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from beyond_serve.batching import Batch
from beyond_serve.engines.child import ChildReply, child_main
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.instance import InstanceEvents
from beyond_serve.engines.load import EngineConfig
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.engines.shared_rows import SharedArena
from beyond_serve.engines.slots import PayloadRows, SlotRows, rows_of
from beyond_serve.errors import BeyondError, EngineError, InstanceLostError

# Spawn, not fork: the parent has threads and a loop, whose locks a fork would copy in any state.
_CONTEXT = multiprocessing.get_context("spawn")


class ChildProcess:
    """One child and the pipe to it. Used by one thread at a time."""

    def __init__(self, name: str) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self.process: BaseProcess = _CONTEXT.Process(
            target=child_main, args=(theirs,), name=f"beyond-serve {name}", daemon=True
        )
        self.process.start()
        # Ours alone from here on: the pipe must break when the child dies.
        theirs.close()

    def ask(self, *message: object) -> object:
        """Send and wait for the answer.

        Raises:
            InstanceLostError: the child died.
            BeyondError: the child's own error.
        """
        try:
            self._pipe.send(message)
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join(1)
            raise self.loss() from error
        if isinstance(answer, tuple) and answer[0] == "failed":
            failure: BeyondError = answer[1]
            raise failure
        return answer

    def describe(self, source: str, *, trust_plan: bool, device: str) -> ModelDescription:
        """`describe_model` in the child: for files that only a library on the device can read, which the
        parent would otherwise open too. Raises as it does, and as `ask`."""
        answer = self.ask("describe", source, trust_plan, device)
        assert isinstance(answer, tuple)
        description: ModelDescription = answer[1]
        return description

    def load(self, config: EngineConfig) -> EngineInfo:
        answer = self.ask("load", config)
        assert isinstance(answer, tuple)
        info: EngineInfo = answer[1]
        return info

    def loss(self) -> InstanceLostError:
        return InstanceLostError(f"its process ended with exit code {self.process.exitcode}")

    def open_end(self) -> int:
        """A file descriptor that becomes readable when the process ends; the caller closes it.

        A pidfd where there is one: readable only once the exit code can be asked for. The sentinel is
        readable as soon as its end of a pipe is closed, which is a little earlier.
        """
        # A pid is only sure to be the child's while the child has not been waited for.
        if self.process.pid is not None and self.process.exitcode is None and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                return os.pidfd_open(self.process.pid)
        return os.dup(self.process.sentinel)

    def close(self) -> None:
        pipe: Connection = self._pipe
        pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class ProcessInstance:
    """A thread that waits on one child; the child maps the arena and reads rows in place.

    Guarantees as `ThreadInstance`: each batch is reported exactly once, also when the child is killed. A
    child that ends between batches is reported at once: the event loop watches for it. With a batch under
    way it is the thread that finds the pipe broken, so that both meet in `_lose`, which reports one loss.

    State of the event loop: the batch under way, the watched descriptor, whether the loss was reported.
    """

    def __init__(
        self,
        name: str,
        config: EngineConfig,
        info: EngineInfo,
        events: InstanceEvents,
        loop: asyncio.AbstractEventLoop,
        arena: SharedArena | None,
        child: ChildProcess | None = None,
    ) -> None:
        self.name = name
        self.device = info.device
        self.simulated = info.simulated
        self._config = config
        self._events = events
        self._loop = loop
        self._arena = arena
        self._child = child
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name=f"instance-{name}", daemon=True)
        self._under_way: Batch | None = None
        self._end_fd: int | None = None
        self._ended = False
        self._closing = False
        self._lost = False

    @property
    def pid(self) -> int | None:
        return self._child.process.pid if self._child is not None else None

    def start(self) -> None:
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        self._under_way = batch
        self._inbox.put(batch)

    def prepare_tensors(self) -> None:
        if self._child is not None:
            with self._lock:
                self._child.ask("prepare")

    def close(self) -> None:
        # From here on the child's end is no loss.
        self._closing = True
        self._tell(self._unwatch)
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _main(self) -> None:
        try:
            child = self._launch()
            self._tell(self._ready, child)
            while (batch := self._inbox.get()) is not None:
                with self._lock:
                    self._run(child, batch)
                self._tell(self._done, batch)
        except BaseException as error:  # whatever ends the thread must free who waits for it
            loss = (
                error if isinstance(error, BeyondError) else EngineError(f"{type(error).__name__}: {error}")
            )
            self._tell(self._lose, loss)
        finally:
            if self._child is not None:
                self._child.close()

    def _launch(self) -> ChildProcess:
        child = self._child
        if child is None:
            child = self._child = ChildProcess(self.name)
            child.load(self._config)
        if self._arena is not None:
            child.ask("arena", self._arena.path, self._arena.count, self._arena.shape)
        return child

    def _run(self, child: ChildProcess, batch: Batch) -> None:
        rows = rows_of(batch.requests, batch.key, self._arena.slots if self._arena else None)
        sent = rows.indices if isinstance(rows, SlotRows) else _payloads(rows)
        reply = child.ask("run", batch.key, sent, batch.top_k, batch.tensors_wanted)
        assert isinstance(reply, ChildReply)
        batch.outputs, batch.error = reply.outputs, reply.error
        if reply.outputs is not None:
            batch.item_errors = reply.outputs.row_errors
        timing = batch.timing
        (
            timing.started,
            timing.copied_in,
            timing.inferred,
            timing.copied_out,
            timing.postprocessed,
        ) = reply.borders
        if isinstance(reply.error, InstanceLostError):
            raise reply.error

    def _ready(self, child: ChildProcess) -> None:
        if not self._closing:
            self._end_fd = child.open_end()
            self._loop.add_reader(self._end_fd, self._child_ended, child)
        self._events.instance_ready(self)

    def _done(self, batch: Batch) -> None:
        self._under_way = None
        self._events.batch_done(self, batch)
        if self._ended:
            # It ended after its answer; whatever was submitted just now is lost with it.
            self._lose(InstanceLostError("its process ended after its last batch"))

    def _child_ended(self, child: ChildProcess) -> None:
        self._unwatch()
        if self._closing:
            return
        self._ended = True
        if self._under_way is None:
            self._lose(child.loss())

    def _lose(self, error: BeyondError) -> None:
        self._unwatch()
        if self._lost:
            return
        self._lost = True
        self._inbox.put(None)
        batch, self._under_way = self._under_way, None
        self._events.instance_lost(self, batch, error)

    def _unwatch(self) -> None:
        # Before the descriptor is closed, whose number the next file would get.
        fd, self._end_fd = self._end_fd, None
        if fd is not None:
            self._loop.remove_reader(fd)
            os.close(fd)

    def _tell(self, event: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event, *args)


def _payloads(rows: PayloadRows) -> list[object]:
    return list(rows.rows())
