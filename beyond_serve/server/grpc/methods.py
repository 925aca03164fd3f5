"""Every method of the service but inference: health, metadata, configuration, statistics, repository."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
from google.protobuf import json_format

from beyond_serve.errors import ConfigError, InvalidRequestError, ModelNotFoundError
from beyond_serve.server.grpc.router import Route, Rpc, UnaryRpc, always
from beyond_serve.server.grpc.status import set_refusal
from beyond_serve.server.oip.model_config import model_config, model_metadata
from beyond_serve.server.oip.served_model import Repository
from beyond_serve.server.oip.server_metadata import server_metadata
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.wire import messages
from beyond_serve.wire.messages import METHODS

_NO_CUDA = "CUDA shared memory is not served; use system shared memory, or send the tensor"

UNIMPLEMENTED = {
    "CudaSharedMemoryStatus": _NO_CUDA,
    "CudaSharedMemoryRegister": _NO_CUDA,
    "CudaSharedMemoryUnregister": _NO_CUDA,
}
"""Why a method of the protocol is not served: the sentence that a client reads."""


class Methods:
    """Answers of the service's plain methods, from the models and regions that both transports share."""

    def __init__(self, repository: Repository, regions: RegionTable, stopping: Callable[[], bool]) -> None:
        self._repository = repository
        self._regions = regions
        self._stopping = stopping
        self._changes: set[asyncio.Task[None]] = set()

    def routes(self) -> dict[str, Route]:
        """All methods that have no class of their own, by path."""
        answers: dict[str, Callable[[Any], Any]] = {
            "ServerLive": lambda _request: messages.ServerLiveResponse(live=True),
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.repository_load,
            "RepositoryModelUnload": self.repository_unload,
            "SystemSharedMemoryStatus": self.shared_memory_status,
            "SystemSharedMemoryRegister": self.shared_memory_register,
            "SystemSharedMemoryUnregister": self.shared_memory_unregister,
        }
        rpcs: dict[str, Rpc] = {name: UnaryRpc(METHODS[name].request, answers[name]) for name in answers}
        rpcs.update({name: Unimplemented(sentence) for name, sentence in UNIMPLEMENTED.items()})
        return {METHODS[name].path: always(rpc) for name, rpc in rpcs.items()}

    def server_ready(self, _request: Any) -> Any:
        return messages.ServerReadyResponse(ready=self._repository.ready and not self._stopping())

    def model_ready(self, request: Any) -> Any:
        """An unknown model is not ready, and no error: clients wait for models by this."""
        try:
            ready = self._repository.get(request.name, request.version).ready and not self._stopping()
        except ModelNotFoundError:
            ready = False
        return messages.ModelReadyResponse(ready=ready)

    def server_metadata(self, _request: Any) -> Any:
        return messages.ServerMetadataResponse(**server_metadata(client_shm=self._regions.allowed))

    def model_metadata(self, request: Any) -> Any:
        model = self._repository.get(request.name, request.version)
        return _filled(messages.ModelMetadataResponse(), model_metadata(model))

    def model_config(self, request: Any) -> Any:
        response = messages.ModelConfigResponse()
        _filled(response.config, model_config(self._repository.get(request.name, request.version)))
        return response

    def model_statistics(self, request: Any) -> Any:
        models = (
            [self._repository.get(request.name, request.version)] if request.name else self._repository.models
        )
        stats = [model.statistics() for model in models]
        return _filled(messages.ModelStatisticsResponse(), {"model_stats": stats})

    def repository_index(self, request: Any) -> Any:
        response = messages.RepositoryIndexResponse()
        for status in self._repository.index():
            if status.state == "READY" or not request.ready:
                response.models.add(**status._asdict())
        return response

    async def repository_load(self, request: Any) -> Any:
        if request.parameters:
            raise InvalidRequestError(
                f"loading with parameters ({', '.join(sorted(request.parameters))[:80]}) is not served",
                "models are loaded as they were configured when the server started",
            )
        try:
            await self._to_the_end(self._repository.load(request.model_name))
        except ConfigError as error:
            # The client asked for this model, so the fault is in what it asked for.
            raise InvalidRequestError(error.message, error.hint) from error
        return messages.RepositoryModelLoadResponse()

    async def repository_unload(self, request: Any) -> Any:
        """`unload_dependents` may be among the parameters: no model here depends on another."""
        await self._to_the_end(self._repository.unload(request.model_name))
        return messages.RepositoryModelUnloadResponse()

    async def _to_the_end(self, change: Coroutine[Any, Any, None]) -> None:
        """A load or unload that began is finished, even if the client that asked for it leaves."""
        task = asyncio.ensure_future(change)
        self._changes.add(task)
        task.add_done_callback(self._changed)
        await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[None]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # Seen by the client, if it is still there.

    def shared_memory_status(self, request: Any) -> Any:
        response = messages.SystemSharedMemoryStatusResponse()
        for region in self._regions.status(request.name):
            entry = response.regions[region.name]
            entry.name, entry.key = region.name, region.key
            entry.offset, entry.byte_size = region.offset, region.byte_size
        return response

    def shared_memory_register(self, request: Any) -> Any:
        self._regions.register(request.name, request.key, request.offset, request.byte_size)
        return messages.SystemSharedMemoryRegisterResponse()

    def shared_memory_unregister(self, request: Any) -> Any:
        self._regions.unregister(request.name)
        return messages.SystemSharedMemoryUnregisterResponse()


class Unimplemented(Rpc):
    """Refuses a method of the protocol with a sentence, its message unread."""

    request_streaming = True
    response_streaming = True

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    async def stream_stream(self, _requests: Any, context: Any) -> None:
        set_refusal(context, grpc.StatusCode.UNIMPLEMENTED, "not_implemented", self._sentence)


def _filled(message: Any, fields: dict[str, Any]) -> Any:
    """Fill a message from the object that HTTP answers as JSON; its keys are the message's fields."""
    json_format.ParseDict(fields, message)
    return message
