"""`beyond-bench decoders --formats` prints the capability table."""

from __future__ import annotations

import pytest

from beyond_serve.bench.formats import POSSIBLE, formats_table
from beyond_serve.preprocess import native
from beyond_serve.preprocess.capabilities import FORMATS, SUPPORT


def test_a_row_for_each_format_and_a_note_for_each_entry() -> None:
    result = formats_table()
    assert [row[0] for row in result.rows] == [known.name for known in FORMATS]
    assert all(len(row) == len(result.columns) for row in result.rows)
    assert len(result.notes) > len(SUPPORT)


def test_what_is_not_built_is_possible_and_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_native", None)
    result = formats_table()
    jpeg = dict(zip(result.columns, result.rows[0], strict=True))
    assert (jpeg["region"], jpeg["DCT scaling"]) == (POSSIBLE, "simplejpeg")
    assert "not built" in result.notes[-1]
