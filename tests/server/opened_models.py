"""Models opened as the server opens them, on a clock whose timers the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import LoopClock, Timer
from beyond_serve.engines.config import EngineConfig
from beyond_serve.errors import ModelLoadError
from beyond_serve.preprocess.image_pool import ImagePool
from beyond_serve.server.call import Call
from beyond_serve.server.config import ModelConfig
from beyond_serve.server.devices import Devices
from beyond_serve.server.loading import Shared, open_model
from beyond_serve.server.model import Model
from beyond_serve.server.stage import PreprocessStage
from tests.fakes.engines import INFO, FakeEngine

PATIENCE_S = 30


class HeldClock(LoopClock):
    """Timers come when the test lets them; `waits_ns` is how long each was to take."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.waits_ns: list[int] = []
        self._held: list[Callable[[], None]] = []

    def call_at_ns(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        self.waits_ns.append(when_ns - self.now_ns())
        self._held.append(callback)
        return self

    def cancel(self) -> None: ...

    def let_go(self) -> None:
        held, self._held = self._held, []
        for callback in held:
            callback()


class Opened:
    """Open models, and what it takes to open them."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.clock = HeldClock(loop)
        self.pool = ImagePool(1, loop)
        stage = PreprocessStage(self.pool, 1, self.clock)
        self.shared = Shared(loop, self.clock, stage, 1, Devices([]), lambda _: None)
        self.models: list[Model] = []

    async def open(self, config: ModelConfig) -> Model:
        model, _ = await open_model(config, self.shared)
        self.models.append(model)
        return model

    async def infer(self, model: Model, value: float) -> Call:
        """One tensor; by the time it has ended its batch is reported."""
        ended: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        rows = np.full((1, 3, 2, 2), value, np.float32)
        call = model.submit_tensor(rows, started_ns=0, received_ns=0, on_done=ended.set_result, top_k=1)
        await asyncio.wait_for(ended, PATIENCE_S)
        model.call_replied(call)
        return call

    async def predict(self, model: Model, image: NDArray[np.uint8]) -> Call:
        """One image, sent as PNG."""
        ended: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        sent = cv2.imencode(".png", image)[1].tobytes()
        call = model.submit_images([sent], started_ns=0, received_ns=0, on_done=ended.set_result)
        await asyncio.wait_for(ended, PATIENCE_S)
        model.call_replied(call)
        return call

    async def until(self, model: Model, wanted: Callable[[], bool]) -> None:
        """Wait until an instance's coming or going makes it so."""
        group = model.group
        assert group is not None
        changed = asyncio.Event()
        told, group.on_change = group.on_change, changed.set
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not wanted():
                    await changed.wait()
                    changed.clear()
        finally:
            group.on_change = told
            model.instances_changed()


@asynccontextmanager
async def opening() -> AsyncIterator[Opened]:
    opened = Opened()
    try:
        yield opened
    finally:
        for model in opened.models:
            await model.close()
        opened.pool.close()


class Fakes:
    """`load_engine` that makes fake engines and keeps them, by device; `meet` is called in each load."""

    def __init__(self, meet: Callable[[], object] = lambda: None, **info: Any) -> None:
        self.engines: dict[str, FakeEngine] = {}
        self.full: set[str] = set()
        self._meet = meet
        self._info = info

    def __call__(self, config: EngineConfig) -> FakeEngine:
        self._meet()
        if config.device in self.full:
            raise ModelLoadError(f"the weights do not fit on {config.device}", "use a smaller model")
        info = replace(INFO, device=config.device, batch_ns=((1, 1e6),), **self._info)
        self.engines[config.device] = engine = FakeEngine(info)
        return engine
