"""Requests that run together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from beyond_serve.batching.request import DONE, RUNNING, Request
from beyond_serve.batching.trace import BatchTiming
from beyond_serve.errors import BeyondError, EngineError, InstanceLostError


class Batch:
    """What an instance runs.

    Owned by the batcher until `Instance.submit`, by the instance until it reports back, then by
    the event loop. `outputs` is the engine's own result for the whole batch; a request's share is
    row `request.index` of it. `error` fails the whole batch, `item_errors` single rows.

    Attributes:
        dispatched_ns: when the batcher gave it to the instance, on the batcher's clock.
        top_k: the most classes that any of the requests asks for.
        tensors_wanted: some request asks for no classes, and so for the model's own outputs.
    """

    __slots__ = (
        "dispatched_ns",
        "error",
        "item_errors",
        "key",
        "outputs",
        "release",
        "requests",
        "tensors_wanted",
        "timing",
        "top_k",
    )

    def __init__(self, requests: list[Request], key: Hashable, release: str) -> None:
        self.requests = requests
        self.key = key
        self.release = release
        self.timing = BatchTiming(len(requests), release)
        self.dispatched_ns = 0
        if len(requests) == 1:
            self.top_k = requests[0].top_k
            self.tensors_wanted = not self.top_k
        else:
            asked = [request.top_k for request in requests]
            self.top_k = max(asked, default=0)
            self.tensors_wanted = not all(asked)
        self.outputs: Any = None
        self.error: BeyondError | None = None
        self.item_errors: Mapping[int, BeyondError] = {}

    def __len__(self) -> int:
        return len(self.requests)

    def start(self, instance: str, *, simulated: bool) -> None:
        """The requests leave the queue and become the instance's."""
        timing = self.timing
        timing.instance = instance
        timing.simulated = simulated
        for request in self.requests:
            request.state = RUNNING
            if request.admission is not None:
                request.leave_queue()
            request.trace.timing = timing

    def retryable(self) -> list[Request]:
        """The requests that may run once more, each alone: the batch failed as a whole, so one of them may
        have taken the others with it, or its instance died, which need not be their doing.

        An engine's failure on a single request is that request's own.
        """
        if isinstance(self.error, InstanceLostError) or (
            isinstance(self.error, EngineError) and len(self.requests) > 1
        ):
            return [r for r in self.requests if not r.retried and r.state is not DONE]
        return []

    def finish(self, again: Sequence[Request] = ()) -> None:
        """Give every slot back, then every request its result, its own error or the batch's.

        Args:
            again: requests that run once more; they are the batcher's again, or in another batch already.
        """
        requests = [r for r in self.requests if r not in again] if again else self.requests
        for request in requests:
            if request.slot is not None:
                request.slot.free()
                request.slot = None
        error, outputs, item_errors = self.error, self.outputs, self.item_errors
        if error is None and outputs is None:
            error = EngineError("the engine returned nothing for the batch")
        for index, request in enumerate(requests):
            if error is not None:
                request.fail(error)
            elif index in item_errors:
                request.fail(item_errors[index])
            else:
                request.succeed(outputs, index)
