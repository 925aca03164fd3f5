from __future__ import annotations

import pytest

from beyond_serve import errors
from beyond_serve.client.errors import error_of_code, parse_retry_after
from beyond_serve.errors import BeyondError, QueueFullError


def test_every_code_comes_back_as_its_class() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BeyondError)
    ]

    assert len(kinds) > 10
    for kind in kinds:
        error = error_of_code(kind.code, "what", "do")
        assert (type(error), error.message, error.hint) == (kind, "what", "do")


def test_a_code_of_a_newer_server() -> None:
    assert type(error_of_code("yet_unknown", "what")) is BeyondError


def test_queue_full_carries_the_wait() -> None:
    error = error_of_code("queue_full", "full", None, 9)

    assert isinstance(error, QueueFullError)
    assert error.retry_after_s == 9


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("3", 3), ("0", 0), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("²", None)],
)
def test_retry_after(value: str | None, seconds: int | None) -> None:
    assert parse_retry_after(value) == seconds
