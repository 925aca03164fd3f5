"""A run's folder: what is written reads back, whatever ended the run and whoever wrote it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest

from beyond_serve.bench.runs import folder as folder_module
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import ConfigError

POINT = {"labels": {"concurrency": 8}, "load": {"throughput_per_s": 120.5}}


def create(root: Path) -> RunFolder:
    return RunFolder.create(root, "sweep", {"model": "demo", "out": root}, seed=7)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    run = create(tmp_path / "new" / "root")
    run.add_point(POINT)
    run.finish("complete", ["a note"])
    read = RunFolder.open(run.path)
    assert run.path.parent == tmp_path / "new" / "root"
    assert read.points == run.points == [POINT]
    assert (read.meta.experiment, read.meta.seed, read.meta.status) == ("sweep", 7, "complete")
    assert list(read.meta.notes) == ["a note"]
    assert read.meta.config["model"] == "demo"
    assert read.meta.ended is not None


def test_two_runs_of_one_second_have_two_folders(tmp_path: Path) -> None:
    assert len({create(tmp_path).path for _ in range(3)}) == 3


def test_points_read_while_writing_are_as_json_has_them(tmp_path: Path) -> None:
    run = create(tmp_path)
    run.add_point(
        {"labels": {"n": np.int64(3)}, "value": np.float32(0.5), "none": float("nan"), "list": (1, 2)}
    )
    assert run.points == [{"labels": {"n": 3}, "value": 0.5, "none": None, "list": [1, 2]}]
    assert RunFolder.open(run.path).points == run.points


def test_a_killed_run_is_worth_its_whole_lines(tmp_path: Path) -> None:
    run = create(tmp_path)
    run.add_point(POINT)
    with (run.path / "points.jsonl").open("ab") as file:
        file.write(b'{"labels": {"concurrency": 16}, "load": {"thr')
    read = RunFolder.open(run.path)
    assert read.points == [POINT]
    assert read.meta.status == "running"


def test_a_run_without_points(tmp_path: Path) -> None:
    assert RunFolder.open(create(tmp_path).path).points == []


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b'{"load": {}}\n', b'{"labels": 1}\n'])
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, line: bytes) -> None:
    run = create(tmp_path)
    (run.path / "points.jsonl").write_bytes(orjson.dumps(POINT) + b"\n" + line + orjson.dumps(POINT) + b"\n")
    with pytest.raises(ConfigError, match=r"points\.jsonl, line 2: no point"):
        RunFolder.open(run.path)


def _no_run(path: Path) -> Path:
    return path


def _file(path: Path) -> Path:
    (path / "file").write_text("")
    return path / "file"


def _missing(path: Path) -> Path:
    return path / "missing"


@pytest.mark.parametrize("make", [_no_run, _file, _missing])
def test_no_run_there(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(ConfigError, match="is no run's folder"):
        RunFolder.open(make(tmp_path))


@pytest.mark.parametrize(
    ("schema", "said"),
    [(0, "of an older version: schema 0"), (2, "of a newer version: schema 2")],
)
def test_another_versions_run(tmp_path: Path, schema: int, said: str) -> None:
    run = create(tmp_path)
    path = run.path / "run.json"
    content = orjson.loads(path.read_bytes())
    # Another version's record need not have this one's fields.
    path.write_bytes(orjson.dumps({"schema": schema, "versions": content["versions"]}))
    with pytest.raises(ConfigError, match=said) as caught:
        RunFolder.open(run.path)
    assert "\n" not in caught.value.message
    assert content["versions"]["beyond-serve"] in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is damaged"),
        (b"[]", "has no schema"),
        (b'{"schema": "1"}', "has no schema"),
        (b'{"schema": 1}', "is damaged: it has no"),
        (b'{"schema": 0, "versions": null}', "older version"),
    ],
)
def test_a_damaged_description(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        RunFolder.open(tmp_path)


def test_a_file_where_the_root_should_be(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write to .*root"):
        create(tmp_path / "root")


def test_a_full_disk_leaves_whole_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create(tmp_path)
    run.add_point(POINT)

    class Full:
        """Takes five bytes of a line and no more."""

        def __init__(self, path: Path) -> None:
            self._file = Path.open(path, "ab", buffering=0)
            self._taken = 0

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def seek(self, *place: int) -> int:
            return self._file.seek(*place)

        def truncate(self, size: int) -> int:
            return self._file.truncate(size)

        def write(self, line: bytes) -> int:
            if self._taken:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._taken = 5
            return self._file.write(line[:5])

    monkeypatch.setattr(folder_module, "_open_to_append", Full)
    with pytest.raises(ConfigError, match="No space left on device"):
        run.add_point(POINT)
    monkeypatch.undo()
    run.add_point({"labels": {"later": True}})
    assert RunFolder.open(run.path).points == run.points == [POINT, {"labels": {"later": True}}]


def test_a_drawn_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create(tmp_path)
    run.write("report.html", b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ConfigError, match="No space left"):
        run.write("report.html", b"new")
    assert (run.path / "report.html").read_bytes() == b"old"
    assert sorted(path.name for path in run.path.iterdir()) == ["report.html", "run.json"]
