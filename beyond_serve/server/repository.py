"""The models that a server was told of, and which of them are loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple

from beyond_serve.errors import BeyondError, InvalidRequestError, ModelNotFoundError
from beyond_serve.server.config import ModelConfig
from beyond_serve.server.model import Model

log = logging.getLogger(__name__)

ModelState = Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]


class ModelStatus(NamedTuple):
    """A line of the repository index."""

    name: str
    version: str
    state: ModelState
    reason: str


class _Entry:
    """State of one configured model. `lock` makes loads and unloads of it take turns."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.model: Model | None = None
        self.state: ModelState = "UNAVAILABLE"
        self.reason = "not loaded"
        self.lock = asyncio.Lock()


class ModelRepository:
    """Loads and unloads models without ever blocking those that serve. Owned by the event loop.

    Args:
        configs: every model that may be served.
        open_model: makes a ready model, or raises.
        on_loaded, on_unloaded: told after a model became, and before it ceases to be, available.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        open_model: Callable[[ModelConfig], Awaitable[Model]],
        on_loaded: Callable[[Model], None],
        on_unloaded: Callable[[Model], None],
    ) -> None:
        self._entries = {config.name: _Entry(config) for config in configs}
        self._only = configs[0].name if len(configs) == 1 else None
        self._open_model = open_model
        self._on_loaded = on_loaded
        self._on_unloaded = on_unloaded

    @property
    def ready(self) -> bool:
        """Every model that is meant to be loaded is loaded and has an instance alive."""
        wanted = [entry for entry in self._entries.values() if entry.reason != "unloaded"]
        return all(entry.model is not None and entry.model.ready for entry in wanted)

    @property
    def models(self) -> list[Model]:
        return [entry.model for entry in self._entries.values() if entry.model is not None]

    def find(self, name: str) -> Model | None:
        """The loaded model of that name, or None."""
        entry = self._entries.get(name)
        return entry.model if entry is not None else None

    def get(self, name: str, version: str = "") -> Model:
        """The loaded model of that name.

        Raises:
            ModelNotFoundError: no such model, not loaded, or no such version.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise ModelNotFoundError(
                f"there is no model '{name}'", f"this server knows: {', '.join(self._entries)}"
            )
        if entry.model is None:
            raise ModelNotFoundError(f"model '{name}' is not loaded ({entry.reason})", "load it first")
        if version and version != entry.model.version:
            raise ModelNotFoundError(
                f"model '{name}' has no version '{version}'", f"its version is {entry.model.version}"
            )
        return entry.model

    def default(self) -> Model:
        """The only model.

        Raises:
            InvalidRequestError: several are served, so the request must name one.
            ModelNotFoundError: it is not loaded.
        """
        if self._only is None:
            raise InvalidRequestError(
                "several models are served and the request names none",
                f"add ?model=NAME with one of: {', '.join(self._entries)}",
            )
        return self.get(self._only)

    def index(self) -> list[ModelStatus]:
        return [self._status(entry) for entry in self._entries.values()]

    @staticmethod
    def _status(entry: _Entry) -> ModelStatus:
        if entry.state == "READY" and entry.model is not None and not entry.model.ready:
            return ModelStatus(entry.config.name, "1", "UNAVAILABLE", entry.model.why_not_ready)
        return ModelStatus(entry.config.name, "1", entry.state, entry.reason)

    async def load(self, name: str) -> None:
        """Load a model; one that is loaded is loaded anew and replaced only once the new one is ready.

        Raises:
            ModelNotFoundError: it is not among the configured.
            ModelLoadError, ConfigError: it cannot be served; a loaded one goes on serving.
        """
        entry = self._entry(name)
        async with entry.lock:
            old = entry.model
            if old is None:
                entry.state, entry.reason = "LOADING", ""
            try:
                model = await self._open_model(entry.config)
            except BeyondError as error:
                if old is None:
                    entry.state, entry.reason = "UNAVAILABLE", error.message
                raise
            if old is not None:
                self._on_unloaded(old)
            entry.model, entry.state, entry.reason = model, "READY", ""
            self._on_loaded(model)
            if old is not None:
                await old.drain_and_close()

    async def unload(self, name: str) -> None:
        """Answer what was accepted, then free the model.

        Raises:
            ModelNotFoundError: it is not among the configured.
        """
        entry = self._entry(name)
        async with entry.lock:
            model = entry.model
            entry.model = None
            if model is not None:
                entry.state, entry.reason = "UNLOADING", ""
                self._on_unloaded(model)
                await model.drain_and_close()
            entry.state, entry.reason = "UNAVAILABLE", "unloaded"

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise ModelNotFoundError(
                f"there is no model '{name}' to load", f"this server knows: {', '.join(self._entries)}"
            )
        return entry

    async def close(self) -> None:
        """Free every model; what still waits fails with ShuttingDownError."""
        for entry in self._entries.values():
            if entry.model is not None:
                model, entry.model = entry.model, None
                await model.close()
