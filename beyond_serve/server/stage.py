"""Decode on credit: encoded images wait here until a worker and a slot are free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from beyond_serve.batching import Lane, Request
from beyond_serve.batching.request import DECODING, WAITING
from beyond_serve.engines.slots import ArenaSlot, SlotArena
from beyond_serve.errors import BeyondError, ImageDecodeError
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.image_pool import ImagePool, Job, Stamps


class ImageLine:
    """One model's encoded images, in order of arrival, and what turns them into rows."""

    def __init__(
        self,
        stage: PreprocessStage,
        preprocessor: HostPreprocessor,
        arena: SlotArena,
        on_ready: Callable[[Request], None],
    ) -> None:
        self.preprocessor = preprocessor
        self.arena = arena
        self.on_ready = on_ready
        self._waiting = Lane()
        self._stage = stage
        arena.on_free = stage.pump_soon

    def enqueue(self, request: Request) -> None:
        """Take an admitted request whose `header` is set."""
        request.state = WAITING
        self._waiting.append(request.trace.admitted, request)
        self._stage.pump()

    def next_with_slot(self) -> tuple[Request, ArenaSlot] | None:
        """The oldest request that somebody still waits for, and the row it will fill."""
        if not self._waiting.living:
            return None
        slot = self.arena.acquire()
        return None if slot is None else (self._waiting.take(1)[0], slot)

    def fail_waiting(self, error: BeyondError) -> None:
        for request in self._waiting.drain():
            request.fail(error)

    def close(self) -> None:
        self._stage.lines.remove(self)


class PreprocessStage:
    """Feeds one pool of workers from the lines of all models, in turn.

    State: the lines, and how many jobs the pool holds. Owned by the event loop. The pool holds a
    few jobs for each worker and no more, so that most images whose client left are dropped before they
    cost anything, and no model's backlog stands before another's.
    """

    def __init__(
        self, pool: ImagePool, workers: int, call_soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self.lines: deque[ImageLine] = deque()
        self._pool = pool
        # Enough for the pool to let small images pass large ones; an invented number.
        self._limit = 8 * workers
        self._held = 0
        self._call_soon = call_soon
        self._pump_called = False

    def line(
        self, preprocessor: HostPreprocessor, arena: SlotArena, on_ready: Callable[[Request], None]
    ) -> ImageLine:
        line = ImageLine(self, preprocessor, arena, on_ready)
        self.lines.append(line)
        return line

    def pump_soon(self) -> None:
        """Slots came back, many at a time: look once, after all of them."""
        if not self._pump_called:
            self._pump_called = True
            self._call_soon(self.pump)

    def pump(self) -> None:
        """Give the pool work while it has room, one image of each line in turn."""
        self._pump_called = False
        idle = 0
        while self._held < self._limit and idle < len(self.lines):
            line = self.lines[0]
            self.lines.rotate(-1)
            idle = 0 if self._start_one(line) else idle + 1

    def _start_one(self, line: ImageLine) -> bool:
        found = line.next_with_slot()
        if found is None:
            return False
        request, slot = found
        request.state = DECODING
        self._held += 1
        done = partial(self._finished, line, request, slot)
        try:
            self._pool.submit(Job(line.preprocessor, request.payload, request.header, slot.array, done))
        except Exception as error:  # one image's numbers must not keep a slot and a client for ever
            done(None, error)
        return True

    def _finished(
        self,
        line: ImageLine,
        request: Request,
        slot: ArenaSlot,
        stamps: Stamps | None,
        error: BaseException | None,
    ) -> None:
        self._held -= 1
        if stamps is None or request.done:
            slot.free()
            if error is not None:
                request.fail(_typed(error))
        else:
            trace = request.trace
            trace.decode_started, trace.decoded, trace.transformed = stamps
            request.slot = slot
            # The encoded bytes have served; a queue of decoded images must not hold both.
            request.payload = None
            line.on_ready(request)
        self.pump_soon()


def _typed(error: BaseException) -> BeyondError:
    if isinstance(error, BeyondError):
        return error
    return ImageDecodeError(f"the image could not be preprocessed: {type(error).__name__}: {error}")
