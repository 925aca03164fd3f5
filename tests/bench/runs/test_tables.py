from __future__ import annotations

import pytest

from beyond_serve.bench.runs.tables import cell, is_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),  # noqa: RUF001
        (float("nan"), "–"),  # noqa: RUF001
        (True, "yes"),
        (False, "no"),
        (12345, "12,345"),
        (0.0, "0"),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (123.4, "123"),
        (12345.6, "12,346"),
        (0.0000123, "1.23e-05"),
        (-2.5, "-2.50"),
        (float("inf"), "∞"),
        ("text", "text"),
    ],
)
def test_cell(value: object, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize("text", ["0", "1,234", "-2.50", "1.23e-05", "45 %", "2.3x", "∞", cell(None)])
def test_numbers_are_set_right(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize("text", ["", "2 GPUs", "1.1 … 1.2", "p99", "-", "e"])
def test_words_are_not(text: str) -> None:
    assert not is_number(text)
