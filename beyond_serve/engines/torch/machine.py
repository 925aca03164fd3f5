"""This machine, in the words of a compiled package's metadata."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


def own_platform() -> tuple[str, str]:
    """Operating system and machine, as in ("linux", "x86_64")."""
    return sys.platform, platform.machine()


def own_cpu_flags() -> frozenset[str]:
    """What the CPU says that it can; empty where the system does not tell."""
    try:
        return flags_in(_CPU_INFO.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return frozenset()


def flags_in(cpu_info: str) -> frozenset[str]:
    for line in cpu_info.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() == "flags":
            return frozenset(flags.split())
    return frozenset()
