"""n requests that are answered as one: what a transport holds while it waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import Request
from beyond_serve.errors import BeyondError, InvalidRequestError

if TYPE_CHECKING:
    from beyond_serve.engines.classify import BatchOutputs
    from beyond_serve.server.caller import Caller


class CallObserver(Protocol):
    """Hears of every call's end, for statistics, metrics and trace files; on the event loop."""

    def call_replied(self, call: Call) -> None: ...

    def call_cancelled(self, call: Call) -> None: ...


class Call:
    """One client's request for n images or rows, each of which is a `Request` of its own.

    Guarantees: `on_done` is called exactly once, on the event loop, when every request has ended,
    and never after `cancel`. It may be called from inside the submit that made the call. The
    transport must then call `replied` once its reply has left.
    """

    __slots__ = ("_left", "_observer", "_on_done", "caller", "cancelled", "requests")

    def __init__(self, on_done: Callable[[Call], None], observer: CallObserver) -> None:
        self.requests: list[Request] = []
        self.cancelled = False
        self.caller: Caller | None = None
        self._left = 0
        self._on_done: Callable[[Call], None] | None = on_done
        self._observer = observer

    def expect(self, requests: list[Request]) -> None:
        """Take the requests, before the first of them is submitted."""
        self.requests = requests
        self._left = len(requests)

    def request_done(self, _request: Request) -> None:
        """The `on_done` of every request of this call."""
        self._left -= 1
        if self._left == 0 and self._on_done is not None:
            # Let go of it first: it refers to the exchange, and the exchange to this call.
            on_done, self._on_done = self._on_done, None
            on_done(self)

    @property
    def error(self) -> BeyondError | None:
        """The error of the first request that failed."""
        for request in self.requests:
            if request.error is not None:
                return request.error
        return None

    def outputs(self, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        """The named outputs of all requests, rows in the requests' order, each [n, …].

        Raises:
            InvalidRequestError: the rows' shapes differ, so they make no tensor.
        """
        return {name: self._rows(name) for name in names}

    def _rows(self, name: str) -> NDArray[np.generic]:
        rows = [
            outputs_of(request).tensors[name][request.index : request.index + 1] for request in self.requests
        ]
        if len(rows) == 1:
            return rows[0]
        try:
            return np.concatenate(rows)
        except ValueError as error:
            raise InvalidRequestError(
                f"the rows of output '{name}' differ in shape and make no tensor",
                "send the images one by one",
            ) from error

    def replied(self, now_ns: int, caller: Caller | None = None) -> None:
        """The last byte of the reply was handed to the transport at `now_ns`: the traces end.

        Args:
            caller: who was answered, if the call came with a `traceparent`.
        """
        self.caller = caller
        for request in self.requests:
            request.trace.replied = now_ns
        self._observer.call_replied(self)

    def cancel(self) -> None:
        """The client left: drop what is not running, and answer nobody."""
        if self.cancelled or self._left == 0:
            return
        self.cancelled = True
        self._on_done = None
        self._observer.call_cancelled(self)
        for request in self.requests:
            request.cancel()


def outputs_of(request: Request) -> BatchOutputs:
    """The outputs of the batch in which a request succeeded; its row is `request.index`."""
    outputs: BatchOutputs = request.outputs
    return outputs
