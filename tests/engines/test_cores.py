from __future__ import annotations

import os

import pytest

from beyond_serve.engines.cores import available_cores, bf16_in_flags, parse_quota, threads_per_context


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("max 100000", None),
        ("", None),
        ("1 0", None),
    ],
)
def test_quota(text: str, cores: int | None) -> None:
    assert parse_quota(text) == cores


def test_cores_are_no_more_than_the_process_may_use() -> None:
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("threads", "instances", "cores", "share"), [(0, 1, 8, 8), (0, 3, 8, 2), (0, 9, 8, 1), (5, 3, 8, 5)]
)
def test_cores_are_shared_out(threads: int, instances: int, cores: int, share: int) -> None:
    assert threads_per_context(threads, instances, cores) == share


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu amx_bf16 amx_tile", True),
        ("avx512_bf16", True),
        ("avx512f avx512bw", False),
        ("avx512_bf160", False),
    ],
)
def test_bf16_by_flags(flags: str, has: bool) -> None:
    assert bf16_in_flags(f"processor\t: 0\nmodel name\t: amx_bf16\nflags\t\t: {flags}\n") is has


def test_no_flags_no_bf16() -> None:
    assert not bf16_in_flags("")
