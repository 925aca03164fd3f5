"""Raw requests of a point: one JSON object a line, gzipped, so that any tool reads them.

{"scheduled_ns": 12, "sent_ns": 15, ..., "stages_us": [..., null]}
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from beyond_serve.bench.runs.meta import encode
from beyond_serve.errors import ConfigError

Columns = Mapping[str, NDArray[Any]]
"""One array per column, all of one length; `stages_us` [n, stages], NaN where there was no trace."""

_CHUNK = 4096
_NAME = re.compile(r"[\w.+-]+")


class HasTable(Protocol):
    """A load's result: `table` is a dataclass whose array fields have one row per request."""

    @property
    def table(self) -> Any: ...


def write_requests(folder: Path, name: str, result: HasTable) -> None:
    """Raises:
    OSError: it cannot be written; no part of it is left.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a file: letters, digits and . _ + - only")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl.gz"
    try:
        with gzip.open(path, "wb", compresslevel=1) as file:
            for lines in _lines(_columns(result.table)):
                file.write(lines)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def read_requests(folder: Path, name: str) -> Columns:
    """Raises:
    ConfigError: not there, or not one whole row.
    """
    path = folder / f"{name}.jsonl.gz"
    rows: list[dict[str, Any]] = []
    try:
        with gzip.open(path, "rb") as file:
            rows.extend(orjson.loads(line) for line in file)
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there", "the run kept no raw requests of this point") from None
    except (OSError, EOFError, zlib.error, orjson.JSONDecodeError) as error:
        # A killed process leaves the end of the file unwritten; the rows before it are whole.
        if not rows:
            raise ConfigError(f"{path} cannot be read: {error}", "it is damaged") from None
    return {key: _array([row[key] for row in rows]) for key in (rows[0] if rows else ())}


def _columns(table: Any) -> dict[str, NDArray[Any]]:
    found = ((field.name, getattr(table, field.name)) for field in fields(table))
    return {name: value for name, value in found if isinstance(value, np.ndarray)}


def _lines(columns: Mapping[str, NDArray[Any]]) -> Iterator[bytes]:
    count = min((len(column) for column in columns.values()), default=0)
    for start in range(0, count, _CHUNK):
        # orjson writes numpy rows as they are (NaN as null), lists of Python numbers faster still.
        parts = [_listed(column[start : start + _CHUNK]) for column in columns.values()]
        rows = (encode(dict(zip(columns, row, strict=True))) for row in zip(*parts, strict=True))
        yield b"".join(chain.from_iterable((row, b"\n") for row in rows))


def _listed(column: NDArray[Any]) -> list[Any]:
    return list(np.ascontiguousarray(column)) if column.ndim > 1 else column.tolist()


def _array(values: list[Any]) -> NDArray[Any]:
    if any(value is None for value in values) or (values and isinstance(values[0], list)):
        return np.array(values, dtype=np.float64)
    return np.asarray(values)
