"""What the CPU offers: how many cores this process may use, and how they are divided."""

from __future__ import annotations

import functools
import os
from pathlib import Path

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CPU_INFO = Path("/proc/cpuinfo")


def available_cores() -> int:
    """Cores this process may run on, by affinity and by the container's quota; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = parse_quota(_read(_CGROUP_QUOTA))
    return affinity if quota is None else max(1, min(affinity, quota))


def parse_quota(text: str) -> int | None:
    """Whole cores of a cgroup's `cpu.max` ("200000 100000"), rounded up; None if there is no limit."""
    fields = text.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or int(fields[1]) == 0:
        return None
    return -(-int(fields[0]) // int(fields[1]))


def threads_per_context(threads: int, instances: int, cores: int) -> int:
    """The threads of one context: as asked, or an equal share of `cores`; at least 1."""
    return threads if threads > 0 else max(1, cores // max(1, instances))


@functools.cache
def has_fast_bf16() -> bool:
    """The CPU multiplies bfloat16 in hardware (AMX-BF16 or AVX512-BF16).

    Read from the flags and not from OpenVINO's OPTIMIZATION_CAPABILITIES, which names BF16 on every
    AVX-512 CPU, also where it is emulated.
    """
    return bf16_in_flags(_read(_CPU_INFO))


def bf16_in_flags(cpu_info: str) -> bool:
    for line in cpu_info.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() == "flags":
            return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags.split())
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
