"""gRPC by grpc.aio: the methods of `inference.GRPCInferenceService` on one channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from numpy.typing import NDArray

from beyond_serve.client import grpc_codec
from beyond_serve.client.endpoint import Endpoint
from beyond_serve.client.errors import CallFailed
from beyond_serve.client.results import ModelMetadata, ModelStatus, Prediction, TraceReport
from beyond_serve.client.tensors import call_parameters
from beyond_serve.client.transport import PredictOptions, only_model
from beyond_serve.errors import BeyondError, ModelNotFoundError
from beyond_serve.wire.messages import METHODS
from beyond_serve.wire.oip import InferRequest

_OPTIONS = (
    # The server's limit decides, and its refusal names it.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # As the HTTP transport, which asks no proxy either: the server is near.
    ("grpc.enable_http_proxy", 0),
    # A server that comes back is found again in seconds, not minutes.
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.use_local_subchannel_pool", 1),
)


class GrpcTransport:
    """Owns a channel; belongs to the event loop that is running when it is made."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._metadata = tuple(endpoint.authorization().items())
        self._channel = self._open(endpoint)
        self._methods = {
            name: self._channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            for name, method in METHODS.items()
            if not method.client_streaming
        }
        # What calls mean that name no model. Dropped when the server refuses it.
        self._only_model: str | None = None

    @staticmethod
    def _open(endpoint: Endpoint) -> Any:
        if not endpoint.is_secure:
            return grpc.aio.insecure_channel(endpoint.authority, options=_OPTIONS)
        credentials = grpc.ssl_channel_credentials(endpoint.root_certificates())
        return grpc.aio.secure_channel(endpoint.authority, credentials, options=_OPTIONS)

    async def predict(
        self, images: Sequence[bytes], options: PredictOptions
    ) -> list[Prediction | BeyondError]:
        model = options.model or await self._default_model()
        parameters = {"top_k": options.top_k, **call_parameters(options.timeout_ms, options.priority)}
        message = grpc_codec.predict_message(model, images, parameters)
        try:
            answer, trace = await self._traced("ModelInfer", message, trace=options.trace)
        except CallFailed as failed:
            if isinstance(failed.error, ModelNotFoundError):
                self._only_model = None
            raise
        return grpc_codec.predictions_of(answer, len(images), trace, self._endpoint.url)

    async def infer(self, request: InferRequest) -> dict[str, NDArray[Any]]:
        answer = await self._call("ModelInfer", grpc_codec.infer_message(request))
        return grpc_codec.outputs_of(answer, self._endpoint.url)

    async def models(self) -> list[ModelStatus]:
        return grpc_codec.models_of(await self._ask("RepositoryIndex"))

    async def metadata(self, name: str) -> ModelMetadata:
        return grpc_codec.metadata_of(await self._ask("ModelMetadata", name=name))

    async def statistics(self, name: str) -> dict[str, Any]:
        answer = await self._ask("ModelStatistics", name=name)
        return grpc_codec.statistics_of(answer, name, self._endpoint.url)

    async def ready(self, name: str | None) -> bool:
        try:
            if name is None:
                return bool((await self._ask("ServerReady")).ready)
            return bool((await self._ask("ModelReady", name=name)).ready)
        except CallFailed as failed:
            if isinstance(failed.error, ModelNotFoundError):
                return False
            raise

    async def live(self) -> bool:
        return bool((await self._ask("ServerLive")).live)

    async def load(self, name: str) -> None:
        await self._ask("RepositoryModelLoad", model_name=name)

    async def unload(self, name: str) -> None:
        await self._ask("RepositoryModelUnload", model_name=name)

    async def close(self) -> None:
        await self._channel.close()

    async def _default_model(self) -> str:
        if self._only_model is None:
            self._only_model = only_model(await self.models())
        return self._only_model

    async def _ask(self, method: str, /, **fields: str) -> Any:
        return await self._call(method, METHODS[method].request(**fields))

    async def _call(self, name: str, message: Any) -> Any:
        answer, _ = await self._traced(name, message, trace=False)
        return answer

    async def _traced(self, name: str, message: Any, *, trace: bool) -> tuple[Any, TraceReport | None]:
        metadata = (*self._metadata, ("x-trace", "1")) if trace else self._metadata
        call = self._methods[name](message, metadata=metadata)
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        if not trace:
            return answer, None
        trailing = _first_values(await call.trailing_metadata())
        return answer, grpc_codec.trace_of(trailing, self._endpoint.url)

    def _failure(self, error: Any) -> Exception:
        trailing = _first_values(error.trailing_metadata())
        return grpc_codec.failure_of(error.code(), error.details() or "", trailing, self._endpoint)


def _first_values(metadata: Any) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in metadata or ():
        values.setdefault(key, value)
    return values
