"""When a request takes too long."""

from __future__ import annotations

import pytest

from beyond_serve.server.http.deadlines import late
from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.reader import Stage

LIMITS = HttpLimits(header_timeout_s=10, body_timeout_s=60, min_body_rate_bytes_per_s=1000)


@pytest.mark.parametrize(
    ("stage", "seconds", "body_bytes", "expected"),
    [
        (Stage.HEAD, 9.9, 0, None),
        (Stage.HEAD, 10.1, 0, "head did not arrive within 10 s"),
        (Stage.BODY, 59.9, 0, None),
        (Stage.BODY, 60.1, 0, "body did not arrive within 60 s"),
        (Stage.BODY, 60.1, 5000, None),
        (Stage.BODY, 65.1, 5000, "body did not arrive within 65 s"),
        (Stage.IDLE, 1e6, 0, None),
        (Stage.STOPPED, 1e6, 0, None),
    ],
)
def test_late(stage: Stage, seconds: float, body_bytes: int, expected: str | None) -> None:
    refusal = late(stage, 7, 7 + int(seconds * 1e9), body_bytes, LIMITS)
    if expected is None:
        assert refusal is None
    else:
        assert refusal is not None
        assert refusal.status == 408
        assert expected in refusal.message
