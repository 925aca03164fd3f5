"""Where a model's requests come in: their deadlines, levels and places in the queue."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from beyond_serve.batching import Admission, Batcher, Clock, Request, Trace
from beyond_serve.batching.forecast import Forecast, too_late
from beyond_serve.errors import BeyondError, InvalidRequestError, QueueFullError
from beyond_serve.server.call import Call
from beyond_serve.server.stage import ImageLine


class Entrance:
    """Makes requests and gives them a place, or refuses them before anything is spent on them.

    State: `refusal`. Owned by the event loop.

    Attributes:
        refusal: why nobody is let in at the moment, None while the model serves.
    """

    def __init__(
        self, name: str, admission: Admission, batcher: Batcher, clock: Clock, timeout_us: int = 0
    ) -> None:
        self.refusal: BeyondError | None = None
        self._name = name
        self._admission = admission
        self._batcher = batcher
        self._clock = clock
        self._timeout_us = timeout_us

    def requests(
        self,
        payloads: Sequence[Any],
        key: Hashable,
        call: Call,
        span: tuple[int, int],
        options: tuple[int, int, int],
    ) -> list[Request]:
        """One request for each payload.

        Args:
            span: when the first and the last byte came, `monotonic_ns`.
            options: classes to show, timeout in microseconds (0: the model's), priority.
        """
        started_ns, received_ns = span
        top_k, timeout_us, priority = options
        timeout_us = timeout_us or self._timeout_us
        deadline_ns = started_ns + timeout_us * 1000 if timeout_us else None
        done, levels = call.request_done, self._admission.levels
        level = levels.level(priority)
        requests = [
            Request(payload, key, Trace(started_ns, received_ns), done, deadline_ns, level, top_k)
            for payload in payloads
        ]
        if level != levels.default:
            for request in requests:
                request.handicap_ns = levels.handicap_ns(level)
        return requests

    def admit(self, requests: list[Request], sizes: Callable[[Any], int]) -> bool:
        """Give every request a place in the queue, or fail them all.

        Args:
            sizes: a payload's size in bytes.
        """
        admission = self._admission
        count, level = len(requests), requests[0].level
        size = 0
        for request in requests:
            request.held_bytes = sizes(request.payload)
            size += request.held_bytes
        error = self.refusal
        # Every level has a place for one.
        if error is None and count > 1 and count > admission.places(level):
            error = self._too_many(count, level)
        if error is None:
            try:
                admission.enter(count, level, size)
            except QueueFullError as full:
                error = full
        if error is not None:
            for request in requests:
                request.fail(error)
            return False
        for request in requests:
            request.admission = admission
            if request.deadline_ns is not None:
                request.timer = self._clock.call_at_ns(request.deadline_ns, request.expire)
        return True

    def refuse_late(self, request: Request, line: ImageLine | None = None) -> bool:
        """Fail an admitted request that is expected to miss its deadline; whether it was.

        Where nothing has run for a while one is let through to see whether the expectation is true.

        Args:
            line: where it will be decoded, if it will.
        """
        if request.deadline_ns is None or self._batcher.untried:
            return False
        # It has a place already, and is not ahead of itself.
        ahead = max(self._admission.ahead(request.level) - 1, 0)
        cost = self._batcher.cost
        forecast = Forecast(
            decode_wait_ns=line.wait_ns(ahead) if line is not None else 0,
            decode_ns=line.predict_ns(request) if line is not None else 0,
            queue_ns=self._batcher.wait_ns(ahead) + self._batcher.wait_margin_ns(ahead),
            single_ns=cost.latency_ns(1) + cost.margin_ns,
        )
        error = too_late(forecast, self._clock.now_ns(), request.deadline_ns)
        if error is not None:
            request.fail(error)
        return error is not None

    def _too_many(self, count: int, level: int) -> InvalidRequestError:
        return InvalidRequestError(
            f"the request holds {count} images, "
            f"the queue of '{self._name}' at most {self._admission.places(level)} of its priority",
            "send fewer at once, or raise --max-queue",
        )
