"""Requests that measure batches: images as good as any, made once."""

from __future__ import annotations

from collections.abc import Callable

import simplejpeg

from beyond_serve.batching import Clock, Request, Trace
from beyond_serve.engines.precision import probe_images
from beyond_serve.engines.protocol import ENCODED, IMAGE
from beyond_serve.engines.slots import SlotArena

_ENCODED_SHAPE = (256, 256, 3)


def request_maker(key: str, arena: SlotArena | None, clock: Clock) -> Callable[[], Request]:
    """Makes requests for `measured_costs`, filled with a picture of gradients and noise.

    Args:
        key: IMAGE or ENCODED, as the model's own image requests have.
        arena: the model's, needed for IMAGE; must have rows for a full batch on every instance.
    """
    if key == ENCODED:
        picture = probe_images(_ENCODED_SHAPE, 1)[0]
        payload: bytes = simplejpeg.encode_jpeg(picture, quality=90)
        return lambda: Request(payload, ENCODED, _trace(clock), _nobody)
    assert arena is not None, "images that the host decodes need their arena"
    row = probe_images(_shape(arena), 1)[0]
    # Written once each: memory that was never written is one page of zeros, faster than any image.
    filled: set[int] = set()

    def make() -> Request:
        slot = arena.acquire()
        assert slot is not None, "the arena holds a full batch for every instance"
        if slot.index not in filled:
            slot.array[...] = row
            filled.add(slot.index)
        request = Request(b"", IMAGE, _trace(clock), _nobody)
        request.slot = slot
        return request

    return make


def _shape(arena: SlotArena) -> tuple[int, int, int]:
    _, height, width, channels = arena.array.shape
    return height, width, channels


def _trace(clock: Clock) -> Trace:
    now_ns = clock.now_ns()
    return Trace(now_ns, now_ns)


def _nobody(_: Request) -> None:
    """Replaced before anything can end."""
