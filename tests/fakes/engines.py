"""Engines whose every step the test decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.protocol import BatchRows, EngineInfo, ExecutionContext, TensorSpec

INFO = EngineInfo(
    engine="fake",
    precision="fp32",
    device="cpu",
    inputs=(TensorSpec("x", "FP32", (-1, 3, 2, 2)),),
    outputs=(TensorSpec("logits", "FP32", (-1, 2)),),
    image_shape=(2, 2, 3),
    scores="logits",
)


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.closed = False

    def infer(self, batch: BatchRows, timing: BatchTiming) -> Mapping[str, NDArray[np.generic]]:
        timing.copied_in = time.monotonic_ns()
        if self.engine.on_infer is not None:
            self.engine.on_infer(batch)
        rows = np.asarray(batch.stacked(), np.float32).reshape(len(batch), -1)
        timing.inferred = timing.copied_out = time.monotonic_ns()
        return {"logits": np.stack([rows[:, 0], -rows[:, 0]], axis=1)}

    def close(self) -> None:
        self.closed = True


class FakeEngine:
    """Logits are (first value, its negative). `on_infer` may raise or wait."""

    def __init__(self, info: EngineInfo = INFO) -> None:
        self.info = info
        self.on_infer: Callable[[BatchRows], None] | None = None
        self.on_create: Callable[[], None] | None = None
        self.contexts: list[FakeContext] = []
        self.prepared = 0
        self.adopted: list[NDArray[np.uint8]] = []
        self.closed = False
        self.threads: set[str] = set()

    def create_context(self) -> ExecutionContext:
        if self.on_create is not None:
            self.on_create()
        self.threads.add(threading.current_thread().name)
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]

    def adopt_rows(self, rows: NDArray[np.uint8]) -> None:
        self.adopted.append(rows)

    def prepare_tensors(self) -> None:
        self.prepared += 1

    def close(self) -> None:
        self.closed = True
