"""Counters of energy: what the CPU's packages (RAPL) and the GPUs (NVML) have used since some start.

Sources: the kernel's powercap sysfs documentation (energy_uj, max_energy_range_uj); NVML's
nvmlDeviceGetTotalEnergyConsumption (millijoules since the driver was loaded).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """One counter.

    Attributes:
        name: as in "cpu package-0" or "gpu 0".
        kind: what its joules are part of.
        read_joules: what it stands at.
        range_joules: where it begins at 0 again, 0 if it never does.
    """

    name: str
    kind: Literal["cpu", "gpu"]
    read_joules: Callable[[], float]
    range_joules: float = 0.0

    def between(self, before: float, after: float) -> float:
        """The joules from `before` to `after`, which the counter may have passed its end between, once."""
        used = after - before
        return used + self.range_joules if used < 0 else used


def energy_counters(powercap: Path = POWERCAP) -> list[EnergyCounter]:
    """All that can be read on this machine."""
    return [*rapl_counters(powercap), *nvml_counters()]


def rapl_counters(powercap: Path) -> list[EnergyCounter]:
    """The packages' counters; those that root alone may read count as none."""
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            largest = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
            _microjoules(zone)
        except (OSError, ValueError):
            continue
        # Zones inside a package (core, uncore, dram) are parts of it, or beside it and not everywhere.
        if name.startswith("package"):
            found.append(EnergyCounter(f"cpu {name}", "cpu", _rapl_reader(zone), largest / 1e6))
    return found


def _rapl_reader(zone: Path) -> Callable[[], float]:
    return lambda: _microjoules(zone) / 1e6


def _microjoules(zone: Path) -> int:
    return int((zone / "energy_uj").read_text(encoding="ascii"))


def nvml_counters() -> list[EnergyCounter]:
    """One for each GPU whose driver counts energy (Volta and later)."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        handles: Sequence[Any] = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        for handle in handles:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return []
    return [
        EnergyCounter(f"gpu {index}", "gpu", _nvml_reader(pynvml, handle))
        for index, handle in enumerate(handles)
    ]


def _nvml_reader(pynvml: Any, handle: Any) -> Callable[[], float]:
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
