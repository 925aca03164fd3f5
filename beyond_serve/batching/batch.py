"""Requests that run together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from beyond_serve.batching.request import Request, State
from beyond_serve.batching.trace import BatchTiming
from beyond_serve.errors import BeyondError, EngineError


class Batch:
    """What an instance runs.

    Owned by the batcher until `Instance.submit`, by the instance until it reports back, then by
    the event loop. `outputs` is the engine's own result for the whole batch; a request's share is
    row `request.index` of it. `error` fails the whole batch, `item_errors` single rows.
    """

    __slots__ = ("error", "item_errors", "key", "outputs", "release", "requests", "timing", "top_k")

    def __init__(self, requests: list[Request], key: Hashable, release: str) -> None:
        self.requests = requests
        self.key = key
        self.release = release
        self.timing = BatchTiming()
        self.top_k = max((request.top_k for request in requests), default=0)
        self.outputs: Any = None
        self.error: BeyondError | None = None
        self.item_errors: Mapping[int, BeyondError] = {}

    def __len__(self) -> int:
        return len(self.requests)

    def start(self, instance: str, *, simulated: bool) -> None:
        """The requests leave the queue and become the instance's."""
        size = len(self.requests)
        for request in self.requests:
            request.state = State.RUNNING
            request.leave_queue()
            trace = request.trace
            trace.timing = self.timing
            trace.batch_size = size
            trace.release = self.release
            trace.instance = instance
            trace.simulated = simulated

    def finish(self) -> None:
        """Give every slot back, then every request its result, its own error or the batch's."""
        for request in self.requests:
            if request.slot is not None:
                request.slot.free()
                request.slot = None
        error = self.error
        if error is None and self.outputs is None:
            error = EngineError("the engine returned nothing for the batch")
        for index, request in enumerate(self.requests):
            failure = error or self.item_errors.get(index)
            if failure is not None:
                request.fail(failure)
            else:
                request.succeed(self, index)
