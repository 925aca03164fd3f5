"""Wakes the event loop at a time in nanoseconds.

uvloop's own timers tick in whole milliseconds, which would be the largest part of a generator's lateness.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import time
from collections.abc import Callable
from typing import Protocol

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1


class Timer(Protocol):
    """Calls back once for each `at`, on the event loop, not before that time."""

    def at(self, when_ns: int) -> None:
        """Set, or move, the one time to wake at; `time.monotonic_ns`. A time that has passed is at once."""

    def close(self) -> None: ...


def open_timer(loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> Timer:
    """The most precise timer that there is here."""
    kind = KernelTimer if platform.system() == "Linux" else SpinTimer
    return kind(loop, wake)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class KernelTimer:
    """Linux's timerfd: nanoseconds, on the clock of `time.monotonic_ns`, and no CPU while it waits.

    By ctypes, for Python has it only from 3.13.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._set: Callable[..., int] = libc.timerfd_settime
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)
        self._loop, self._wake = loop, wake
        loop.add_reader(self._fd, self._ready)

    def at(self, when_ns: int) -> None:
        # Zero would disarm it.
        self._spec.value.seconds, self._spec.value.nanoseconds = divmod(max(when_ns, 1), 1_000_000_000)
        if self._set(self._fd, _ABSOLUTE, self._reference, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def _ready(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # Moved after it had fired.
            return
        self._wake()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class SpinTimer:
    """Where there is no timerfd: the loop's own timer, and turns of the loop for the last 2 ms."""

    SPIN_NS = 2_000_000

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop, self._wake = loop, wake
        self._when = 0
        self._handle: asyncio.Handle | None = None

    def at(self, when_ns: int) -> None:
        self.close()
        self._when = when_ns
        ahead = when_ns - time.monotonic_ns() - self.SPIN_NS
        if ahead > 0:
            self._handle = self._loop.call_later(ahead / 1e9, self._turn)
        else:
            self._handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if time.monotonic_ns() < self._when:
            self._handle = self._loop.call_soon(self._turn)
            return
        self._handle = None
        self._wake()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
