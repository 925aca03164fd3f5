"""When requests leave: a closed loop's next at an answer, an open load's at its scheduled time.

Both count what is on its way, so that a run ends when the last request has, and both give up on a server
that has not been reachable for GIVE_UP_NS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from beyond_serve.bench.load.error_kinds import NO_CONNECTION
from beyond_serve.bench.load.plan import WorkerPlan
from beyond_serve.bench.load.recorder import Recorder
from beyond_serve.bench.load.timer import Timer, open_timer
from beyond_serve.bench.load.wire import Wire

GIVE_UP_NS: Final = 10_000_000_000
_REST_S, _LONGEST_REST_S = 0.02, 1.0

OpenTimer = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Timer]


class Driver:
    """What both kinds share. State: how many requests are on their way, and since when none got through.

    Attributes:
        finished: done when nothing is on its way and nothing will be.
        gave_up: the server was not reachable for too long.
        full: the table had no row left.
    """

    def __init__(self, plan: WorkerPlan, recorder: Recorder, wire: Wire) -> None:
        self._plan = plan
        self._recorder = recorder
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._choices: list[int] = plan.choices.tolist()
        self._in_flight = 0
        self._reached_ns = 0
        self._stopped = False
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self.gave_up = False
        self.full = False

    def start(self, start_ns: int) -> None:
        raise NotImplementedError

    def ended(
        self, row: int, received_ns: int, status: int, kind: int, bytes_in: int, document: bytes | None
    ) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True
        self._finish_if_idle()

    def _watch_reach(self, kind: int, now_ns: int) -> None:
        if kind not in NO_CONNECTION:
            self._reached_ns = now_ns
        elif now_ns - self._reached_ns > GIVE_UP_NS and not self._stopped:
            self.gave_up = True
            self.stop()

    def _finish_if_idle(self) -> None:
        if self._stopped and not self._in_flight and not self.finished.done():
            self.finished.set_result(None)


class ClosedDriver(Driver):
    """`concurrency` queries of `samples` requests; a query's end is the next one's scheduled time.

    Rows of one query lie side by side.
    """

    def __init__(self, plan: WorkerPlan, recorder: Recorder, wire: Wire) -> None:
        super().__init__(plan, recorder, wire)
        self._next_row = 0
        self._samples = plan.samples
        self._left: dict[int, int] = {}
        self._counted = 0
        self._warm_ns = self._end_ns = 0
        self._rest_s = _REST_S

    def start(self, start_ns: int) -> None:
        plan = self._plan
        self._reached_ns = start_ns
        self._warm_ns = start_ns + plan.warmup_ns
        # Far away, where only a count ends it.
        self._end_ns = start_ns + (plan.end_ns if plan.end_ns is not None else 1 << 61)
        timer = open_timer(self._loop, lambda: self._begin(timer))
        timer.at(start_ns)

    def _begin(self, timer: Timer) -> None:
        timer.close()
        for _ in range(self._plan.concurrency):
            self._query(time.monotonic_ns())
        self._finish_if_idle()

    def ended(
        self, row: int, received_ns: int, status: int, kind: int, bytes_in: int, document: bytes | None
    ) -> None:
        # The next request leaves before this one is written down: what the generator does between the
        # two is time in which the server has one request less than it should.
        self._in_flight -= 1
        if self._is_query_done(row):
            if kind in NO_CONNECTION:
                self._loop.call_later(self._rest_s, self._rested)
                self._rest_s = min(self._rest_s * 1.5, _LONGEST_REST_S)
                self._in_flight += 1
            else:
                self._rest_s = _REST_S
                self._query(received_ns)
        self._recorder.ended(row, received_ns, status, kind, bytes_in, document)
        self._watch_reach(kind, received_ns)
        if not self._in_flight:
            self._finish_if_idle()

    def _is_query_done(self, row: int) -> bool:
        if self._samples == 1:
            return True
        query = row // self._samples
        left = self._left.pop(query) - 1
        if left:
            self._left[query] = left
        return not left

    def _rested(self) -> None:
        self._in_flight -= 1
        self._query(time.monotonic_ns())
        self._finish_if_idle()

    def _query(self, scheduled_ns: int) -> None:
        """Send the next query, unless the run is over."""
        row, samples = self._next_row, self._samples
        if self._stopped or not self._may_send(scheduled_ns, row, samples):
            self._stopped = True
            return
        self._next_row = row + samples
        self._in_flight += samples
        if samples > 1:
            self._left[row // samples] = samples
        for sample in range(row, row + samples):
            self._recorder.leaves(sample, scheduled_ns)
            self._recorder.sent(sample, self._wire.send(sample, self._choices[sample]))

    def _may_send(self, scheduled_ns: int, row: int, samples: int) -> bool:
        if scheduled_ns >= self._end_ns:
            return False
        if row + samples > self._plan.capacity:
            self.full = True
            return False
        if self._plan.count is not None and scheduled_ns >= self._warm_ns:
            if self._counted >= self._plan.count:
                return False
            self._counted += samples
        return True


class OpenDriver(Driver):
    """Requests leave at their scheduled times, whatever became of those before."""

    def __init__(
        self,
        plan: WorkerPlan,
        recorder: Recorder,
        wire: Wire,
        make_timer: OpenTimer = open_timer,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(plan, recorder, wire)
        self._clock = clock
        self._next_row = 0
        self._times: list[int] = []
        self._timer = make_timer(self._loop, self._wake)

    def start(self, start_ns: int) -> None:
        assert self._plan.arrivals is not None
        self._reached_ns = start_ns
        self._times = (self._plan.arrivals + start_ns).tolist()
        for row, scheduled_ns in enumerate(self._times):
            self._recorder.leaves(row, scheduled_ns)
        if self._times:
            self._timer.at(self._times[0])
        else:
            self.stop()

    def _wake(self) -> None:
        row, times = self._next_row, self._times
        now = self._clock()
        while row < len(times) and times[row] <= now and not self._stopped:
            self._in_flight += 1
            self._recorder.sent(row, self._wire.send(row, self._choices[row]))
            row += 1
            if row < len(times) and times[row] > now:
                now = self._clock()
        self._next_row = row
        if self._stopped:
            return
        if row < len(times):
            self._timer.at(times[row])
        else:
            self.stop()

    def stop(self) -> None:
        if not self._stopped:
            self._timer.close()
        super().stop()

    def ended(
        self, row: int, received_ns: int, status: int, kind: int, bytes_in: int, document: bytes | None
    ) -> None:
        self._in_flight -= 1
        self._recorder.ended(row, received_ns, status, kind, bytes_in, document)
        self._watch_reach(kind, received_ns)
        if not self._in_flight:
            self._finish_if_idle()
