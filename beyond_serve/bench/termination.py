"""SIGTERM as Ctrl-C, so that what was measured is kept and the servers that were started are ended."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """In the block SIGTERM does what Ctrl-C does: `KeyboardInterrupt`. To be entered in the main thread."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once: `timeout` sends it to the process and again to its group, and a second one would break off the
    # ending of the servers. Not SIG_IGN, which processes that are started later would inherit.
    signal.signal(number, _ignore)
    on_interrupt = signal.getsignal(signal.SIGINT)
    # An event loop has a handler of its own. A shell starts what runs in the background with SIGINT ignored.
    if callable(on_interrupt):
        on_interrupt(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


def _ignore(number: int, frame: FrameType | None) -> None:
    return
