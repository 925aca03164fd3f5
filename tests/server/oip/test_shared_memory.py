from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.oip import shared_memory
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.wire.oip import RegionSlice


@pytest.fixture
def regions(tmp_path: Path) -> Iterator[RegionTable]:
    (tmp_path / "object").write_bytes(bytes(range(100)))
    table = RegionTable(allowed=True, directory=tmp_path)
    yield table
    table.close()


def test_a_region_is_read_and_written_where_it_lies(regions: RegionTable, tmp_path: Path) -> None:
    regions.register("r", "/object", 10, 50)
    assert regions.read(RegionSlice("r", 5, 3)) == bytes((15, 16, 17))
    regions.write(RegionSlice("r", 40, 10), b"xyz")
    assert (tmp_path / "object").read_bytes()[48:55] == bytes((48, 49)) + b"xyz" + bytes((53, 54))


def test_status_and_unregister(regions: RegionTable) -> None:
    regions.register("a", "object", 0, 100)
    regions.register("b", "/object", 1, 2)
    assert [(r.name, r.key, r.offset, r.byte_size) for r in regions.status("b")] == [("b", "/object", 1, 2)]
    assert [region.name for region in regions.status()] == ["a", "b"]
    regions.unregister("a")
    regions.unregister("a")
    assert [region.name for region in regions.status()] == ["b"]
    regions.unregister()
    assert regions.status() == []
    with pytest.raises(InvalidRequestError, match="no shared memory region 'b'"):
        regions.status("b")


@pytest.mark.parametrize(("offset", "size"), [(0, 51), (50, 1), (51, 0), (-1, 2), (0, -1), (2**62, 2**62)])
def test_nothing_beyond_the_region_is_touched(regions: RegionTable, offset: int, size: int) -> None:
    regions.register("r", "object", 10, 50)
    for use in (regions.check, regions.read, lambda part: regions.write(part, b"")):
        with pytest.raises(InvalidRequestError, match="outside region 'r'"):
            use(RegionSlice("r", offset, size))


def test_an_object_that_shrank_is_an_error_and_no_crash(regions: RegionTable, tmp_path: Path) -> None:
    regions.register("r", "object", 0, 100)
    os.truncate(tmp_path / "object", 40)
    with pytest.raises(InvalidRequestError, match="smaller than region 'r'"):
        regions.read(RegionSlice("r", 30, 20))
    with pytest.raises(InvalidRequestError, match="smaller than region 'r'"):
        regions.write(RegionSlice("r", 30, 20), bytes(20))
    assert (tmp_path / "object").stat().st_size == 40


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("/missing", "cannot open"),
        ("../object", "has the key"),
        ("/sub/object", "has the key"),
        ("", "has the key"),
        ("/", "has the key"),
        ("..", "has the key"),
        ("a\0b", "has the key"),
        ("\udcff\ud800", "cannot open"),
        ("link", "cannot open"),
        ("pipe", "no shared memory"),
        ("directory", "cannot open"),
    ],
)
def test_only_plain_objects_can_be_registered(
    regions: RegionTable, tmp_path: Path, key: str, said: str
) -> None:
    (tmp_path / "link").symlink_to("object")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    with pytest.raises(InvalidRequestError, match=said):
        regions.register("r", key, 0, 1)
    assert regions.status() == []


def test_a_registration_must_fit(regions: RegionTable) -> None:
    for offset, size in ((0, 101), (100, 1), (-1, 5), (0, 0)):
        with pytest.raises(InvalidRequestError):
            regions.register("r", "object", offset, size)
    regions.register("r", "object", 99, 1)
    with pytest.raises(InvalidRequestError, match="'r' already"):
        regions.register("r", "object", 0, 1)
    with pytest.raises(InvalidRequestError, match="no name"):
        regions.register("", "object", 0, 1)


def test_there_is_a_limit(regions: RegionTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "MAX_REGIONS", 1)
    regions.register("a", "object", 0, 1)
    with pytest.raises(InvalidRequestError, match="1 shared memory regions"):
        regions.register("b", "object", 0, 1)


def test_without_the_flag_nothing_is_registered(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(b"1")
    regions = RegionTable(directory=tmp_path)
    with pytest.raises(InvalidRequestError, match="not allowed"):
        regions.register("r", "object", 0, 1)
    with pytest.raises(InvalidRequestError, match="not allowed"):
        regions.read(RegionSlice("r", 0, 1))
    assert regions.status() == []
    regions.unregister()
