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


class FragileEngine(FakeEngine):
    """No costs are measured of it. State: whether the device is lost to this process."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(replace(INFO, device=config.device, batch_ns=((1, 1e6),)))
        self.lost = False
        self._full = full(config.source, config.device)
        self.on_infer, self.on_create = self._infer, self._create

    def _infer(self, batch: BatchRows) -> None:
        if (batch.stacked().reshape(len(batch), -1)[:, 0] == POISON).any():
            self.lost = True
            raise InstanceLostError("cudaErrorIllegalAddress (700)")

    def _create(self) -> None:
        if self.lost:
            raise InstanceLostError("the device is lost to this process")
        if self._full.exists():
            raise ModelLoadError(f"no room on {self.info.device}: 0.1 GiB are free", "use --max-batch 8")


def fragile_child_main(pipe: Connection) -> None:
    """In place of `child_main`, in a process of its own."""
    load: Callable[[EngineConfig], Engine] = FragileEngine
    child.load_engine = load
    child.child_main(pipe)
