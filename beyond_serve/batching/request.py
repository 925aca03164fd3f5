"""One image (or one row of a tensor) on its way through the server."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from beyond_serve.errors import BeyondError, DeadlineExceededError

if TYPE_CHECKING:
    from beyond_serve.batching.admission import Admission
    from beyond_serve.batching.clock import Timer
    from beyond_serve.batching.lane import Lane
    from beyond_serve.batching.trace import Trace


class Slot(Protocol):
    """A row of preallocated batch input. Exactly one owner; `free` gives it back."""

    def free(self) -> None: ...


class State(IntEnum):
    """Who owns a request, and with it its slot."""

    NEW = 0
    WAITING = 1  # admitted, encoded; the preprocess stage owns it
    DECODING = 2  # a preprocess worker owns it and writes its slot
    READY = 3  # the batcher owns it
    RUNNING = 4  # an instance owns it and reads its slot
    DONE = 5


# Looking a member up on its enum costs as much as the rest of a state's check.
NEW, WAITING, DECODING, READY, RUNNING, DONE = State


class Request:
    """The unit of batching.

    Guarantees: `on_done` is called at most once, on the event loop, and never after `cancel`. A
    place in the queue and a slot that nobody reads or writes are given back at once when a request
    ends, whatever ended it. A request that ended refers to nothing that refers back to it, so that
    it is freed at once and not by the garbage collector.

    Attributes:
        payload: encoded image bytes, or one row of a tensor.
        batch_key: requests with equal keys may share a batch; never None.
        deadline_ns: on the trace's clock, or None.
        level: its priority level, 1 goes first (see `Levels`).
        handicap_ns: by how much later than it came it stands in its lane.
        held_bytes: what its payload counts for in the queue's budget of bytes.
        retried: it has been in a batch that failed, and runs alone now.
        top_k: how many classes its reply shows; 0 for none.
        outputs, index: its batch's outputs once it succeeded, and its own row in them.
    """

    __slots__ = (
        "admission",
        "batch_key",
        "deadline_ns",
        "error",
        "handicap_ns",
        "header",
        "held_bytes",
        "index",
        "lane",
        "level",
        "on_done",
        "outputs",
        "payload",
        "retried",
        "slot",
        "state",
        "timer",
        "top_k",
        "trace",
    )

    def __init__(
        self,
        payload: Any,
        batch_key: Hashable,
        trace: Trace,
        on_done: Callable[[Request], None],
        deadline_ns: int | None = None,
        level: int = 1,
        top_k: int = 0,
    ) -> None:
        self.payload = payload
        self.trace = trace
        self.on_done: Callable[[Request], None] | None = on_done
        self.deadline_ns = deadline_ns
        self.level = level
        self.handicap_ns = 0
        self.held_bytes = 0
        self.retried = False
        self.top_k = top_k
        self.batch_key = batch_key
        self.header: Any = None
        self.state: State = NEW
        self.admission: Admission | None = None
        self.slot: Slot | None = None
        self.lane: Lane | None = None
        self.timer: Timer | None = None
        self.outputs: Any = None
        self.index = 0
        self.error: BeyondError | None = None

    def __repr__(self) -> str:
        return f"<Request {self.state.name} key={self.batch_key!r} deadline_ns={self.deadline_ns}>"

    @property
    def done(self) -> bool:
        return self.state is DONE

    def leave_queue(self) -> None:
        """Give back the place in the queue: the request is being run, or has ended."""
        if self.admission is not None:
            self.admission.leave(self.level, self.held_bytes)
            self.admission = None

    def drop_payload(self) -> None:
        """Its pixels are in its slot: the encoded bytes count no longer."""
        self.payload = None
        if self.admission is not None:
            self.admission.held_bytes -= self.held_bytes
        self.held_bytes = 0

    def succeed(self, outputs: Any, index: int) -> None:
        """Called by the batch, which has given the slot back."""
        if self.state is not DONE:
            self.outputs = outputs
            self.index = index
            self._end_and_tell()

    def fail(self, error: BeyondError) -> None:
        if self.state is not DONE:
            self.error = error
            self._end_and_tell()

    def expire(self) -> None:
        stage = self.state.name.lower()
        self.fail(
            DeadlineExceededError(
                f"the deadline passed while the request was {stage}",
                "allow more time, or lower the load",
            )
        )

    def give_up(self) -> None:
        """Its deadline lies ahead and cannot be met any more: spend nothing on it."""
        self.fail(
            DeadlineExceededError(
                "the deadline could not be met any more, so the request was not run",
                "allow more time, or lower the load",
            )
        )

    def await_retry(self) -> None:
        """Its batch failed; it goes back to the batcher, to run alone. It keeps its slot."""
        self.retried = True
        self.state = READY

    def cancel(self) -> None:
        """The client left: end without an answer."""
        if self.state is not DONE:
            self.on_done = None
            self._end()

    def _end_and_tell(self) -> None:
        on_done, self.on_done = self.on_done, None
        self._end()
        assert on_done is not None
        on_done(self)

    def _end(self) -> None:
        if self.lane is not None:
            self.lane.forget(self)
        # A slot in use by a worker or an instance stays theirs; they free it when they are through.
        if self.slot is not None and self.state is READY:
            self.slot.free()
            self.slot = None
        self.state = DONE
        if self.admission is not None:
            self.leave_queue()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
