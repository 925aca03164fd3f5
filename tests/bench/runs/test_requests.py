"""Raw requests: columns go out as rows that any tool reads, and come back as columns."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from beyond_serve.bench.runs.requests import read_requests, write_requests
from beyond_serve.errors import ConfigError


@dataclass(frozen=True)
class Table:
    sent_ns: NDArray[np.int64]
    status: NDArray[np.int16]
    stages_us: NDArray[np.float32]
    names: tuple[str, ...] = ("not a column",)


@dataclass(frozen=True)
class Result:
    table: Table


def result(count: int) -> Result:
    stages = np.arange(count * 11, dtype=np.float32).reshape(count, 11)
    stages[::3] = np.nan
    return Result(Table(np.arange(count) * 10, np.full(count, 200, np.int16), stages))


@pytest.mark.parametrize("count", [1, 2, 4096, 5000])
def test_columns_read_back(tmp_path: Path, count: int) -> None:
    given = result(count)
    write_requests(tmp_path, "c-8", given)
    columns = read_requests(tmp_path, "c-8")
    assert set(columns) == {"sent_ns", "status", "stages_us"}
    np.testing.assert_array_equal(columns["sent_ns"], given.table.sent_ns)
    np.testing.assert_array_equal(columns["stages_us"], given.table.stages_us)


def test_each_line_is_one_request(tmp_path: Path) -> None:
    write_requests(tmp_path, "c-8", result(2))
    lines = gzip.decompress((tmp_path / "c-8.jsonl.gz").read_bytes()).splitlines()
    first, second = map(orjson.loads, lines)
    assert (first["sent_ns"], second["sent_ns"], second["status"]) == (0, 10, 200)
    assert first["stages_us"] == [None] * 11


def test_no_request_at_all(tmp_path: Path) -> None:
    write_requests(tmp_path, "none", result(0))
    assert dict(read_requests(tmp_path, "none")) == {}


def test_a_file_cut_off_keeps_its_whole_rows(tmp_path: Path) -> None:
    write_requests(tmp_path, "cut", result(5000))
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rows = len(read_requests(tmp_path, "cut")["sent_ns"])
    assert 0 < rows < 5000


@pytest.mark.parametrize("content", [b"no gzip", b""])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.jsonl.gz").write_bytes(content)
    if content:
        with pytest.raises(ConfigError, match="cannot be read"):
            read_requests(tmp_path, "bad")
    else:
        assert dict(read_requests(tmp_path, "bad")) == {}


def test_none_were_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        read_requests(tmp_path, "c-8")


@pytest.mark.parametrize("name", ["../out", "a/b", "", "a b"])
def test_a_name_that_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        write_requests(tmp_path, name, result(1))
