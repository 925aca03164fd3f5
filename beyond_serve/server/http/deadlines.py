"""How long a connection may stay as it is. Pure: numbers in, a decision out."""

from __future__ import annotations

from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.reader import Stage
from beyond_serve.server.http.refusal import Refusal

_NS = 1_000_000_000


def is_over(since_ns: int, now_ns: int, allowed_s: float) -> bool:
    return now_ns - since_ns > allowed_s * _NS


class Unsent:
    """Whether a client takes what it was answered. State: what was left at the last look, and since when
    it has not shrunk."""

    __slots__ = ("_bytes", "_since_ns")

    def __init__(self) -> None:
        self._bytes = 0
        self._since_ns = 0

    def is_stuck(self, unsent: int, now_ns: int, allowed_s: float) -> bool:
        """Look again; `unsent` bytes are left."""
        shrunk = self._bytes == 0 or unsent < self._bytes
        self._bytes = unsent
        if shrunk:
            self._since_ns = now_ns
        return unsent > 0 and not shrunk and is_over(self._since_ns, now_ns, allowed_s)


def late(stage: Stage, since_ns: int, now_ns: int, body_bytes: int, limits: HttpLimits) -> Refusal | None:
    """The refusal due to a client that takes too long to send its request, if it does.

    Args:
        since_ns: when the stage began.
        body_bytes: how much of the body has come.
    """
    if stage is Stage.HEAD and is_over(since_ns, now_ns, limits.header_timeout_s):
        message = f"the request's head did not arrive within {limits.header_timeout_s:g} s"
    elif stage is Stage.BODY and is_over(since_ns, now_ns, _body_seconds(body_bytes, limits)):
        message = f"the request's body did not arrive within {_body_seconds(body_bytes, limits):.3g} s"
    else:
        return None
    return Refusal(408, "request_timeout", message, "send faster, or raise the server's time-out")


def _body_seconds(body_bytes: int, limits: HttpLimits) -> float:
    return limits.body_timeout_s + body_bytes / limits.min_body_rate_bytes_per_s
