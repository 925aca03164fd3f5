"""What became of every request and every batch: plain arrays, since there are millions."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable
from enum import IntEnum

from beyond_serve.batching import Batch, Request, Trace
from beyond_serve.batching.request import DONE
from beyond_serve.errors import DeadlineExceededError, QueueFullError


class Outcome(IntEnum):
    """How a request ended."""

    OPEN = 0  # it did not
    ANSWERED = 1
    REFUSED = 2  # at the door: its deadline could not be met
    FULL = 3  # at the door: no place in the queue
    DROPPED = 4  # by the policy or the stage: its deadline could not be met any more
    EXPIRED = 5  # its deadline passed
    FAILED = 6


class SimRequest(Request):
    """A request that knows its row in the recorder."""

    __slots__ = ("number",)

    def __init__(
        self,
        number: int,
        payload: object,
        key: Hashable,
        trace: Trace,
        on_done: Callable[[Request], None],
        deadline_ns: int | None,
        level: int,
    ) -> None:
        Request.__init__(self, payload, key, trace, on_done, deadline_ns, level)
        self.number = number


class Recorder:
    """Columns of one run.

    Attributes:
        arrived_ns, ended_ns: int64 by request, -1 while it has not.
        outcome: uint8 by request, an `Outcome`.
        batch_started_ns, batch_took_ns, batch_size, batch_waiting: int64 by batch, in the order of their
            ends; the last is what waited (encoded or ready) then.
        releases: batches by the reason why they left.
        wasted: requests that had ended before their batch did.
    """

    def __init__(self, requests: int, now_ns: Callable[[], int], waiting: Callable[[], int]) -> None:
        self.arrived_ns = array("q", [-1]) * requests
        self.ended_ns = array("q", [-1]) * requests
        self.outcome = bytearray(requests)
        self.batch_started_ns = array("q")
        self.batch_took_ns = array("q")
        self.batch_size = array("q")
        self.batch_waiting = array("q")
        self.releases: dict[str, int] = {}
        self.wasted = 0
        self._now_ns = now_ns
        self._waiting = waiting

    def done(self, request: Request) -> None:
        """`Request.on_done`."""
        assert isinstance(request, SimRequest)
        number = request.number
        self.ended_ns[number] = now_ns = self._now_ns()
        error = request.error
        if error is None:
            self.outcome[number] = 1
        elif isinstance(error, QueueFullError):
            self.outcome[number] = Outcome.FULL
        elif isinstance(error, DeadlineExceededError):
            ahead = request.deadline_ns is not None and now_ns < request.deadline_ns
            self.outcome[number] = Outcome.DROPPED if ahead else Outcome.EXPIRED
        else:
            self.outcome[number] = Outcome.FAILED

    def batch_ended(self, started_ns: int, took_ns: int, batch: Batch) -> None:
        requests = batch.requests
        self.batch_started_ns.append(started_ns)
        self.batch_took_ns.append(took_ns)
        self.batch_size.append(len(requests))
        self.batch_waiting.append(self._waiting())
        self.releases[batch.release] = self.releases.get(batch.release, 0) + 1
        self.wasted += sum([request.state is DONE for request in requests])
