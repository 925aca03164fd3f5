"""The client: every call is implemented here; `Client` only gives it a loop of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from numpy.typing import NDArray

from beyond_serve.client.endpoint import Verify, parse_endpoint
from beyond_serve.client.errors import CallFailed, ServerUnreachableError
from beyond_serve.client.grpc_transport import GrpcTransport
from beyond_serve.client.http_transport import HttpTransport
from beyond_serve.client.images import Image, read_image
from beyond_serve.client.results import ModelMetadata, ModelStatus, Prediction
from beyond_serve.client.retry import NO_RETRY, RetryPolicy
from beyond_serve.client.tensors import Tensor, infer_request
from beyond_serve.client.transport import PredictOptions, Transport, only_model
from beyond_serve.errors import BeyondError, ImageDecodeError, PayloadTooLargeError, UnsupportedImageError

_T = TypeVar("_T")

DEFAULT_TIMEOUT_S = 60.0
LOAD_TIMEOUT_S = 600.0

_IMAGES_AT_ONCE = 8
"""Calls in flight while images are sent one by one to find the bad ones. Chosen, not measured."""

_OF_ONE_IMAGE = (UnsupportedImageError, ImageDecodeError, PayloadTooLargeError)


class AsyncClient:
    """Calls one server from one event loop; any number of tasks may call at once.

    Connections are made by the first call and kept until `close`, or the end of `async with`.

    Args:
        url: `http://`, `https://`, `grpc://` or `grpcs://`, host and port.
        token: the bearer token, if the server asks for one.
        timeout_s: bounds each attempt of each call, connecting included; None: no bound.
        verify: True, or the path of a PEM file with the authority to trust; False (HTTPS only): anyone.
        retry: what to do when the server refuses for now; None raises at once.

    Every call raises the server's own error as its class of `beyond_serve.errors`, ServerUnreachableError
    if there is no answer, and UnexpectedReplyError if what answers is no such server.

    Raises:
        ConfigError: the URL, the token or `verify` cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        verify: Verify = True,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._endpoint = parse_endpoint(url, token, verify)
        self._timeout_s = timeout_s
        self._retry = retry or NO_RETRY
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def url(self) -> str:
        return self._endpoint.url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}{' closed' if self._closed else ''}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls in flight fail. May be called again."""
        self._closed = True
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    async def predict(
        self,
        image: Image,
        model: str | None = None,
        top_k: int = 5,
        trace: bool = False,
        timeout_ms: float | None = None,
        priority: int | None = None,
    ) -> Prediction:
        """Classify one encoded image.

        Args:
            image: a path, the encoded bytes, or a binary file object, which is read.
            model: may be left out if the server has only one.
            trace: ask for the time that each stage took.
            timeout_ms: the server gives up and answers DeadlineExceededError after this long.
            priority: 1 is the highest, 0 the server's default.
        """
        options = PredictOptions(model, top_k, trace, timeout_ms, priority)
        return await self._predict_one(await _read(image), options)

    async def predict_many(
        self,
        images: Sequence[Image],
        model: str | None = None,
        top_k: int = 5,
        trace: bool = False,
        timeout_ms: float | None = None,
        priority: int | None = None,
    ) -> list[Prediction | BeyondError]:
        """Classify images in one call: for each, in order, its prediction or its own error.

        Where the server can only refuse the call as a whole for a bad image (gRPC; all of them bad), the
        images are sent again one by one. Errors that are of no image are raised.
        """
        options = PredictOptions(model, top_k, trace, timeout_ms, priority)
        encoded = [await _read(image) for image in images]
        if not encoded:
            return []
        try:
            return await self._call(lambda transport: transport.predict(encoded, options))
        except _OF_ONE_IMAGE as error:
            if len(encoded) == 1:
                return [error]
        return await self._predict_apart(encoded, options)

    async def infer(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str] | None = None,
        model: str | None = None,
        *,
        timeout_ms: float | None = None,
        priority: int | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run a model on tensors, batch axis first, over the Open Inference Protocol, binary both ways.

        Args:
            inputs: arrays, or a list of `bytes` for a BYTES input of shape [n].
            outputs: names of those wanted; None: all.
            model: may be left out if the server has only one.

        Returns:
            Outputs by name: read-only arrays; of dtype object holding `bytes` for BYTES, uint16 bit
            patterns for BF16.
        """
        if model is None:
            model = only_model(await self.models())
        request = infer_request(model, inputs, outputs, timeout_ms, priority)
        return await self._call(lambda transport: transport.infer(request))

    async def models(self) -> list[ModelStatus]:
        """Every model the server knows, loaded or not."""
        return await self._call(lambda transport: transport.models())

    async def metadata(self, name: str) -> ModelMetadata:
        """A model's inputs and outputs."""
        return await self._call(lambda transport: transport.metadata(name))

    async def statistics(self, name: str) -> dict[str, Any]:
        """A model's entry of the protocol's statistics extension: counts, and times in nanoseconds."""
        return await self._call(lambda transport: transport.statistics(name))

    async def ready(self, model: str | None = None) -> bool:
        """Whether the server, or one model, is ready to answer; an unknown model is not."""
        return await self._call(lambda transport: transport.ready(model))

    async def live(self) -> bool:
        """Whether the server is up. Raises ServerUnreachableError if nothing answers."""
        return await self._call(lambda transport: transport.live())

    async def load(self, name: str, *, timeout_s: float | None = LOAD_TIMEOUT_S) -> None:
        """Load a model, or load it anew; returns when it is ready."""
        await self._attempts(lambda transport: transport.load(name), timeout_s)

    async def unload(self, name: str, *, timeout_s: float | None = LOAD_TIMEOUT_S) -> None:
        """Unload a model once it has answered what it accepted."""
        await self._attempts(lambda transport: transport.unload(name), timeout_s)

    async def _predict_one(self, image: bytes, options: PredictOptions) -> Prediction:
        (result,) = await self._call(lambda transport: transport.predict([image], options))
        if isinstance(result, BeyondError):
            raise result
        return result

    async def _predict_apart(
        self, images: Sequence[bytes], options: PredictOptions
    ) -> list[Prediction | BeyondError]:
        places = asyncio.Semaphore(_IMAGES_AT_ONCE)

        async def one(image: bytes) -> Prediction | BeyondError:
            async with places:
                try:
                    return await self._predict_one(image, options)
                except BeyondError as error:
                    return error

        return await asyncio.gather(*(one(image) for image in images))

    async def _call(self, call: Callable[[Transport], Awaitable[_T]]) -> _T:
        return await self._attempts(call, self._timeout_s)

    async def _attempts(self, call: Callable[[Transport], Awaitable[_T]], timeout_s: float | None) -> _T:
        """The call's result, after as many attempts as the retry policy allows."""
        transport = self._opened()
        attempt = 1
        while True:
            try:
                return await self._bounded(call(transport), timeout_s)
            except CallFailed as failed:
                delay_s = self._retry.delay_s(failed, attempt, random.random())  # noqa: S311  only spreads load
                if delay_s is None:
                    raise failed.error from None
            await asyncio.sleep(delay_s)
            attempt += 1

    async def _bounded(self, answer: Awaitable[_T], timeout_s: float | None) -> _T:
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise ServerUnreachableError(
                f"{self.url} gave no answer within {timeout_s:g} s",
                "raise the client's timeout_s, or look at the server's queue",
            ) from None

    def _opened(self) -> Transport:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError(f"{self!r}: the client cannot be used again")
        if self._transport is None:
            kind = GrpcTransport if self._endpoint.is_grpc else HttpTransport
            self._transport = kind(self._endpoint)
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError(f"{self!r} belongs to another event loop: make one client per loop")
        return self._transport


async def _read(image: Image) -> bytes:
    return image if isinstance(image, bytes) else await asyncio.to_thread(read_image, image)
