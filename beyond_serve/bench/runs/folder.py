"""A run's folder: written while an experiment runs, read by everything that draws or compares.

    ROOT/EXPERIMENT-YYYYmmdd-HHMMSS/
        run.json            what was run, on what, how it ended (`meta.py`)
        points.jsonl        one measured point a line
        requests/*.jsonl.gz raw requests of a point (`requests.py`)
        plots/, report.html drawn from the above, at any time (`render.py`)

A point is on the disk when `add_point` returns, and the file holds whole lines but for what a killed
process was about to write: so an interrupted run is worth what it had measured.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import orjson

from beyond_serve.bench.runs.meta import RunMeta, encode
from beyond_serve.bench.runs.requests import Columns, HasTable, read_requests, write_requests
from beyond_serve.errors import ConfigError

_RUN, _POINTS, _REQUESTS = "run.json", "points.jsonl", "requests"

Point = dict[str, Any]


class RunFolder:
    """One run. `create` to write, `open` to read; a folder being written can be read through itself.

    Attributes:
        path: the folder.
        meta: what was run and how it ended.
        points: the measured points, as they read back from JSON; each has "labels".
    """

    def __init__(self, path: Path, meta: RunMeta, points: list[Point]) -> None:
        self.path = path
        self.meta = meta
        self.points = points

    @classmethod
    def create(
        cls,
        root: Path | str,
        experiment: str,
        config: Mapping[str, object],
        seed: int = 0,
        notes: Sequence[str] = (),
    ) -> RunFolder:
        """A new folder below `root`, which is made if it is not there; `notes` are those known before.

        Raises:
            ConfigError: it cannot be written.
        """
        root = Path(root)
        try:
            path = _new_folder(root, f"{experiment}-{datetime.now():%Y%m%d-%H%M%S}")
        except OSError as error:
            raise _unwritable(root, error) from None
        run = cls(path, RunMeta.now(experiment, config, seed, notes), [])
        run._write_meta()
        return run

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """The run in `path`, also one that was interrupted or killed.

        Raises:
            ConfigError: no run's folder, a damaged one, or one of another version's schema.
        """
        path = Path(path)
        try:
            content = (path / _RUN).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            hint = "give the folder that the run printed at its end"
            raise ConfigError(f"{path} is no run's folder: it has no {_RUN}", hint) from None
        except OSError as error:
            raise ConfigError(f"cannot read {path / _RUN}: {error.strerror}", "check its mode") from None
        meta = RunMeta.from_json(path / _RUN, content)
        return cls(path, meta, _read_points(path / _POINTS))

    def add_point(self, point: Mapping[str, object]) -> None:
        """Append `point`: {"labels": {...}, "load": LoadResult.summary() if there is one, ...}.

        Raises:
            ConfigError: the disk takes no more. The points before it are whole.
        """
        line = encode({"labels": {}, **point})
        try:
            _append(self.path / _POINTS, line + b"\n")
        except OSError as error:
            raise _unwritable(self.path, error) from None
        self.points.append(orjson.loads(line))

    def add_requests(self, name: str, result: HasTable) -> None:
        """Write the raw rows of `result` as requests/NAME.jsonl.gz.

        Raises:
            ConfigError: the disk takes no more; no part of the file is left.
        """
        try:
            write_requests(self.path / _REQUESTS, name, result)
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def requests(self, name: str) -> Columns:
        """The rows that `add_requests` wrote, as columns.

        Raises:
            ConfigError: there are none of this name, or they are damaged from the first row.
        """
        return read_requests(self.path / _REQUESTS, name)

    def finish(self, status: Literal["complete", "interrupted", "failed"], notes: Sequence[str] = ()) -> None:
        """Write how the run ended.

        Raises:
            ConfigError: the disk takes no more.
        """
        self.meta = self.meta.ending(status, notes)
        self._write_meta()

    def write(self, name: str, content: bytes) -> Path:
        """Write a file that is drawn from the run (a plot, the report); it appears whole or not at all.

        Raises:
            ConfigError: the disk takes no more.
        """
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, content)
        except OSError as error:
            raise _unwritable(path, error) from None
        return path

    def _write_meta(self) -> None:
        self.write(_RUN, self.meta.to_json())


def _new_folder(root: Path, name: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    # Two runs may start in the same second.
    for number in range(1, 1000):
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(0, "a thousand runs of this second are there", str(root))


def _append(path: Path, line: bytes) -> None:
    with _open_to_append(path) as file:
        whole = file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(line):
                written += file.write(line[written:])
        except OSError:
            # Half a line in the middle would make every later one unreadable.
            file.truncate(whole)
            raise


def _open_to_append(path: Path) -> FileIO:
    return path.open("ab", buffering=0)


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _read_points(path: Path) -> list[Point]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "check its mode") from None
    points: list[Point] = []
    # What follows the last newline is what a killed process was about to write.
    for number, line in enumerate(lines[:-1], 1):
        try:
            point = orjson.loads(line)
        except orjson.JSONDecodeError:
            point = None
        if not isinstance(point, dict) or not isinstance(point.get("labels"), dict):
            raise ConfigError(f"{path}, line {number}: no point", "remove the line to read the others")
        points.append(point)
    return points


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot write to {path}: {error.strerror or error}", "give another folder with --out, or make room"
    )
