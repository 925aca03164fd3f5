"""What the protocol's code needs of a served model and of the repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.server.call import Call
from beyond_serve.server.config import ModelConfig

if TYPE_CHECKING:
    from beyond_serve.server.repository import ModelStatus


class ServedModel(Protocol):
    """See `server/model.py`; `submit_*` never raise and may call `on_done` before they return."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def config(self) -> ModelConfig: ...

    @property
    def info(self) -> EngineInfo: ...

    @property
    def labels(self) -> tuple[str, ...] | None: ...

    @property
    def ready(self) -> bool: ...

    @property
    def capacity(self) -> int: ...

    @property
    def max_batch(self) -> int: ...

    def submit_images(
        self,
        images: Sequence[bytes],
        *,
        started_ns: int,
        received_ns: int,
        on_done: Callable[[Call], None],
        top_k: int = 0,
        timeout_us: int = 0,
        priority: int = 0,
    ) -> Call: ...

    def submit_tensor(
        self,
        rows: NDArray[np.generic],
        *,
        started_ns: int,
        received_ns: int,
        on_done: Callable[[Call], None],
        top_k: int = 0,
        timeout_us: int = 0,
        priority: int = 0,
    ) -> Call: ...

    def statistics(self) -> dict[str, object]: ...


class Repository(Protocol):
    """See `server/repository.py`."""

    @property
    def ready(self) -> bool: ...

    @property
    def models(self) -> Sequence[ServedModel]: ...

    def get(self, name: str, version: str = "") -> ServedModel: ...

    def index(self) -> Sequence[ModelStatus]: ...

    async def load(self, name: str) -> None: ...

    async def unload(self, name: str) -> None: ...
