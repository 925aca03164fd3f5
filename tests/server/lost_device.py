"""An engine whose device can be lost and can be full, here and in child processes.

The files beside the model's table say what is the matter: "DEVICE.full" while there is no room for a context.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from beyond_serve.engines import child
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.protocol import BatchRows, Engine
from beyond_serve.errors import InstanceLostError, ModelLoadError
from tests.fakes.engines import INFO, FakeEngine

POISON = 13.0
"""A row that begins with it takes the device with it."""


def full(source: str, device: str) -> Path:
    """While this file exists the device has no room for another context."""
    return Path(source.removeprefix("sim:")).with_name(f"{device}.full")


def load_fragile(config: EngineConfig) -> Engine:
    """In place of `load_engine`. No costs are measured of it."""
    engine = FakeEngine(replace(INFO, device=config.device, batch_ns=((1, 1e6),), image_shape=None))

    def infer(batch: BatchRows) -> None:
        if (batch.stacked().reshape(len(batch), -1)[:, 0] == POISON).any():
            raise InstanceLostError("cudaErrorIllegalAddress (700)")

    def create() -> None:
        if full(config.source, config.device).exists():
            raise ModelLoadError(f"no room on {config.device}: 0.1 GiB are free", "use --max-batch 8")

    engine.on_infer, engine.on_create = infer, create
    return engine


def fragile_child_main(pipe: Connection) -> None:
    """In place of `child_main`, in a process of its own."""
    load: Callable[[EngineConfig], Engine] = load_fragile
    child.load_engine = load
    child.child_main(pipe)
