"""The client for code without an event loop: `AsyncClient` on a thread of its own."""

from __future__ import annotations

import weakref
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from numpy.typing import NDArray

from beyond_serve.client.async_client import DEFAULT_TIMEOUT_S, LOAD_TIMEOUT_S, AsyncClient
from beyond_serve.client.endpoint import Verify
from beyond_serve.client.images import Image, read_image
from beyond_serve.client.loop_thread import LoopThread
from beyond_serve.client.results import ModelMetadata, ModelStatus, Prediction
from beyond_serve.client.retry import RetryPolicy
from beyond_serve.client.tensors import Tensor
from beyond_serve.errors import BeyondError

_T = TypeVar("_T")


class Client:
    """Calls one server and waits for each answer; arguments, results and errors as `AsyncClient` has them.

    Any number of threads may call at once. May be called where an event loop is running, which then
    stands still until the answer is there. Not usable in a child made by `os.fork()`: it raises there,
    and the child makes a client of its own. A client that nobody closed is closed when it is collected
    or the interpreter exits.

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
        self._client = AsyncClient(url, token=token, timeout_s=timeout_s, verify=verify, retry=retry)
        self._thread = LoopThread(f"beyond-client {self._client.url}", self._client.close)
        # Only stops and does not wait: a collection may happen on any thread, the loop's own included.
        weakref.finalize(self, self._thread.stop).atexit = False

    @property
    def url(self) -> str:
        return self._client.url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}{' closed' if self._thread.stopped else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls in flight on other threads fail. May be called again."""
        self._thread.stop()
        self._thread.join()

    def predict(
        self,
        image: Image,
        model: str | None = None,
        top_k: int = 5,
        trace: bool = False,
        timeout_ms: float | None = None,
        priority: int | None = None,
    ) -> Prediction:
        """Classify one encoded image: a path, its bytes, or a binary file object. As `AsyncClient`."""
        data = read_image(image)
        return self._run(self._client.predict(data, model, top_k, trace, timeout_ms, priority))

    def predict_many(
        self,
        images: Sequence[Image],
        model: str | None = None,
        top_k: int = 5,
        trace: bool = False,
        timeout_ms: float | None = None,
        priority: int | None = None,
    ) -> list[Prediction | BeyondError]:
        """Classify images in one call: for each, in order, its prediction or its own error."""
        encoded = [read_image(image) for image in images]
        return self._run(self._client.predict_many(encoded, model, top_k, trace, timeout_ms, priority))

    def infer(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str] | None = None,
        model: str | None = None,
        *,
        timeout_ms: float | None = None,
        priority: int | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run a model on tensors over the Open Inference Protocol. See `AsyncClient.infer`."""
        call = self._client.infer(inputs, outputs, model, timeout_ms=timeout_ms, priority=priority)
        return self._run(call)

    def models(self) -> list[ModelStatus]:
        """Every model the server knows, loaded or not."""
        return self._run(self._client.models())

    def metadata(self, name: str) -> ModelMetadata:
        """A model's inputs and outputs."""
        return self._run(self._client.metadata(name))

    def statistics(self, name: str) -> dict[str, Any]:
        """A model's entry of the protocol's statistics extension: counts, and times in nanoseconds."""
        return self._run(self._client.statistics(name))

    def ready(self, model: str | None = None) -> bool:
        """Whether the server, or one model, is ready to answer; an unknown model is not."""
        return self._run(self._client.ready(model))

    def live(self) -> bool:
        """Whether the server is up. Raises ServerUnreachableError if nothing answers."""
        return self._run(self._client.live())

    def load(self, name: str, *, timeout_s: float | None = LOAD_TIMEOUT_S) -> None:
        """Load a model, or load it anew; returns when it is ready."""
        self._run(self._client.load(name, timeout_s=timeout_s))

    def unload(self, name: str, *, timeout_s: float | None = LOAD_TIMEOUT_S) -> None:
        """Unload a model once it has answered what it accepted."""
        self._run(self._client.unload(name, timeout_s=timeout_s))

    def _run(self, call: Coroutine[Any, Any, _T]) -> _T:
        return self._thread.run(call)
