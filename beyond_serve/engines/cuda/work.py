"""What a context puts on its stream for a batch, as graphs where they can be captured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from beyond_serve.engines.cuda.program import Program, Replay
from beyond_serve.engines.cuda.runtime import CaptureError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Capturing:
    """Whether an engine's contexts capture graphs; the first that cannot says so for all.

    State: written under the engine's lock while contexts start, and by contexts; a late reader only tries
    once more in vain.
    """

    wanted: bool = True
    refusal: str = field(default="")

    def refused(self, error: CaptureError) -> None:
        if self.wanted:
            self.wanted, self.refusal = False, str(error)
            log.warning("CUDA graphs cannot be captured (%s); batches are enqueued call by call", error)


class BatchWork:
    """The device's work for a batch of each size: kernels before and after the network included.

    Args:
        enqueue: puts the work for a number of rows onto the stream, call by call.
        settle: waits until the stream is at rest.

    Owned by the context's thread. A size's first run is always call by call: libraries set themselves up
    then, which a graph could not record.
    """

    def __init__(
        self,
        program: Program,
        enqueue: Callable[[int], None],
        settle: Callable[[], None],
        capturing: Capturing,
    ) -> None:
        self._program = program
        self._enqueue = enqueue
        self._settle = settle
        self._capturing = capturing
        self._replays: dict[int, Replay] = {}

    def prepare(self, buckets: Sequence[int]) -> None:
        """Run every size once and capture it right then, while the library is set up for it; large ones
        first, so that smaller graphs find room in what the larger have taken."""
        for rows in reversed(buckets):
            self._enqueue(rows)
            self._settle()
            self._capture(rows)

    def launch(self, rows: int) -> None:
        """Put the work for `rows`, a bucket, onto the stream."""
        replay = self._replays.get(rows)
        if replay is not None:
            replay()
        else:
            self._enqueue(rows)

    def capture_later(self, rows: int) -> None:
        """Right after a run of this size, with the stream at rest: capture it if that was its first."""
        if rows not in self._replays:
            self._capture(rows)

    def _capture(self, rows: int) -> None:
        if not self._capturing.wanted:
            return
        try:
            self._replays[rows] = self._program.capture(lambda: self._enqueue(rows))
        except CaptureError as error:
            self._capturing.refused(error)

    def close(self) -> None:
        for replay in self._replays.values():
            replay.close()
        self._replays.clear()
