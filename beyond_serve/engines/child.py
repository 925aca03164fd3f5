"""The child process of a process instance: loads its own engine, reads rows from shared memory.

Speaks with its parent over one pipe, pickled tuples, one answer to each message:
("describe", source, trust_plan, device) → ("described", ModelDescription) | ("failed", BeyondError)
("load", EngineConfig) → ("loaded", EngineInfo) | ("failed", BeyondError)
("arena", path, count, shape) → ("ready",)
("prepare",) → ("prepared",) | ("failed", BeyondError)
("run", key, rows, top_k, tensors) → ("done", timing, outputs | None, error | None)
The child ends when the pipe closes, so that none survives its parent.
"""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.classify import BatchOutputs
from beyond_serve.engines.collector import settle_collector
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.execution import run_rows
from beyond_serve.engines.load import EngineConfig, load_engine
from beyond_serve.engines.protocol import IMAGE, BatchRows, Engine, ExecutionContext
from beyond_serve.engines.shared_rows import attach_arena
from beyond_serve.engines.slots import PayloadRows, SlotArena, SlotRows
from beyond_serve.errors import BeyondError, EngineError


class ChildReply(NamedTuple):
    """What a child says of one batch; times are CLOCK_MONOTONIC, which processes share."""

    borders: tuple[int, int, int, int, int]
    outputs: BatchOutputs | None
    error: BeyondError | None


class Child:
    """State: the engine, its one context, the attached arena."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._engine: Engine | None = None
        self._context: ExecutionContext | None = None
        self._arena: SlotArena | None = None

    def serve(self) -> None:
        try:
            while True:
                message = self._pipe.recv()
                self._pipe.send(self._answer(message))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return

    def _answer(self, message: tuple[Any, ...]) -> object:
        try:
            if message[0] == "run":
                _, key, rows, top_k, tensors = message
                return self._run(key, rows, top_k, tensors=tensors)
            return self._prepare(message)
        except BeyondError as error:
            return ("failed", error)
        except Exception as error:
            return ("failed", EngineError(f"{type(error).__name__}: {error}"))

    def _prepare(self, message: tuple[Any, ...]) -> object:
        """Everything but batches. Raises BeyondError, and whatever a library may."""
        match message:
            case ("describe", source, trust_plan, device):
                return ("described", describe_model(source, trust_plan=trust_plan, device=device))
            case ("load", config):
                return ("loaded", self._load(config))
            case ("arena", path, count, shape):
                assert self._engine is not None
                self._arena = attach_arena(path, count, shape)
                self._engine.adopt_rows(self._arena.array)
                return ("ready",)
            case ("prepare",):
                assert self._engine is not None
                self._engine.prepare_tensors()
                return ("prepared",)
        raise EngineError(f"the child does not know the message {message[0]!r}")

    def _load(self, config: EngineConfig) -> object:
        self._engine = load_engine(config)
        self._context = self._engine.create_context()
        settle_collector()
        return self._engine.info

    def _run(self, key: object, rows: Any, top_k: int, *, tensors: bool) -> ChildReply:
        assert self._context is not None
        assert self._engine is not None
        timing = BatchTiming()
        batch: BatchRows = PayloadRows(key, rows)
        if key == IMAGE and self._arena is not None:
            batch = SlotRows(self._arena.array, rows)
        elif isinstance(key, tuple):
            # A restarted child has not been told; it costs nothing the second time.
            self._engine.prepare_tensors()
        outputs, error = run_rows(self._context, self._engine.info, batch, timing, top_k, tensors=tensors)
        borders = (timing.started, timing.copied_in, timing.inferred, timing.copied_out, timing.postprocessed)
        return ChildReply(borders, outputs, error)


def child_main(pipe: Connection) -> None:
    """Entry point of the spawned process. Signals go to the parent, which decides when to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Child(pipe).serve()
