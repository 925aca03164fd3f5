"""Instances and requests without threads, engines or images."""

from __future__ import annotations

from beyond_serve.batching import Admission, Batch, Batcher, Clock, Request, Trace
from beyond_serve.errors import BeyondError


class FakeInstance:
    """Keeps what it is given until the test completes it."""

    simulated = False
    device = "fake"

    def __init__(self, name: str, batcher: Batcher, clock: Clock) -> None:
        self.name = name
        self.batches: list[Batch] = []
        self._batcher = batcher
        self._clock = clock

    @property
    def running(self) -> Batch | None:
        return self.batches[-1] if self.batches and self.batches[-1].timing.postprocessed == 0 else None

    def submit(self, batch: Batch) -> None:
        assert self.running is None, "an instance was given a batch while it runs one"
        batch.timing.started = self._clock.now_ns()
        self.batches.append(batch)

    def complete(self, error: BeyondError | None = None) -> None:
        batch = self.running
        assert batch is not None
        batch.timing.postprocessed = self._clock.now_ns()
        if error is None:
            batch.outputs = [f"result of {request.payload}" for request in batch.requests]
        batch.error = error
        self._batcher.batch_done(self, batch)


class InlineFake(FakeInstance):
    """Completes each batch before `submit` returns."""

    def submit(self, batch: Batch) -> None:
        super().submit(batch)
        self.complete()


class FakeSlot:
    """Counts how often it came back."""

    def __init__(self) -> None:
        self.freed = 0

    def free(self) -> None:
        self.freed += 1


class Ended:
    """Collects the requests that ended, in order."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> None:
        self.requests.append(request)

    def results(self) -> list[object]:
        return [
            request.error.code if request.error is not None else request.outputs[request.index]
            for request in self.requests
        ]


def make_request(
    payload: object,
    clock: Clock,
    ended: Ended,
    *,
    key: object = "image",
    deadline_ns: int | None = None,
    admission: Admission | None = None,
    level: int = 1,
    size: int = 0,
) -> Request:
    """A request as a model would make and admit it."""
    now_ns = clock.now_ns()
    request = Request(payload, key, Trace(now_ns, now_ns), ended, deadline_ns=deadline_ns, level=level)
    if admission is not None:
        admission.enter(1, level, size)
        request.admission = admission
        request.held_bytes = size
        request.handicap_ns = admission.levels.handicap_ns(level)
    if deadline_ns is not None:
        request.timer = clock.call_at_ns(deadline_ns, request.expire)
    return request
