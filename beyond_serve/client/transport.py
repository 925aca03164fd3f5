"""What the client needs of a transport; HTTP and gRPC are its two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from beyond_serve.client.results import ModelMetadata, ModelStatus, Prediction
from beyond_serve.errors import BeyondError, InvalidRequestError
from beyond_serve.wire.oip import InferRequest


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How images are to be classified; None leaves the choice to the server.

    Checked here, because the protocol gives a count of 0 and a time-out of 0 meanings of their own.

    Raises:
        InvalidRequestError: a value out of range.
    """

    model: str | None = None
    top_k: int = 5
    trace: bool = False
    timeout_ms: float | None = None
    priority: int | None = None

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise InvalidRequestError(f"top_k is {self.top_k}", "give a whole number from 1")
        if self.timeout_ms is not None and not 0 < self.timeout_ms <= 1e9:
            raise InvalidRequestError(f"timeout_ms is {self.timeout_ms}", "give milliseconds, more than 0")
        if self.priority is not None and self.priority < 0:
            raise InvalidRequestError(f"priority is {self.priority}", "give 0, or 1 for the highest and up")


class Transport(Protocol):
    """One attempt of each call, on one event loop.

    Every method but `close` raises `CallFailed` with the error that the server answered, and itself
    `ServerUnreachableError` or `UnexpectedReplyError`. No method limits its own time: the caller cancels.
    """

    async def predict(
        self, images: Sequence[bytes], options: PredictOptions
    ) -> list[Prediction | BeyondError]:
        """One result per image, in order. An image's own failure may also fail the whole attempt."""
        ...

    async def infer(self, request: InferRequest) -> dict[str, NDArray[Any]]: ...

    async def models(self) -> list[ModelStatus]: ...

    async def metadata(self, name: str) -> ModelMetadata: ...

    async def statistics(self, name: str) -> dict[str, Any]: ...

    async def ready(self, name: str | None) -> bool: ...

    async def live(self) -> bool: ...

    async def load(self, name: str) -> None: ...

    async def unload(self, name: str) -> None: ...

    async def close(self) -> None: ...


def only_model(models: Sequence[ModelStatus]) -> str:
    """The model that a call means which names none.

    Raises:
        InvalidRequestError: there is not exactly one.
    """
    names = [model.name for model in models]
    if len(names) != 1:
        served = "no model is" if not names else "several models are"
        raise InvalidRequestError(
            f"{served} served and the call names none",
            f"pass model= with one of: {', '.join(names)}" if names else "load a model first",
        )
    return names[0]


def output_array(data: NDArray[np.generic] | list[bytes], shape: tuple[int, ...]) -> NDArray[Any]:
    """A tensor off the wire as the caller gets it: a BYTES tensor becomes an array of `bytes` objects."""
    if not isinstance(data, list):
        return data
    array = np.empty(len(data), dtype=object)
    array[:] = data
    return array.reshape(shape)
