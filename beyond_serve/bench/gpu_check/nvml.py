"""What NVIDIA's management library says of a device, through ctypes: no package needed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any


class Nvml:
    """One device. Questions that cannot be answered say why, and raise nothing.

    Args:
        library: libnvidia-ml.so.1, or what stands for it.
    """

    def __init__(self, library: Any, index: int) -> None:
        self._library = library
        self._device = ctypes.c_void_p()
        self.why_not = self._failure(library.nvmlInit_v2())
        if not self.why_not:
            found = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(self._device))
            self.why_not = self._failure(found)

    def facts(self) -> dict[str, object]:
        """What is readable here, by name; what is not, as the reason."""
        if self.why_not:
            return {"nvml": self.why_not}
        library, device = self._library, self._device
        text = ctypes.create_string_buffer(96)
        energy = self._number("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong, 1e-3, "J")
        return {
            "driver": self._asked(lambda: library.nvmlSystemGetDriverVersion(text, len(text)), text),
            "energy since the driver was loaded": energy,
            "power": self._number("nvmlDeviceGetPowerUsage", ctypes.c_uint, 1e-3, "W"),
            "temperature": self._asked_number(
                lambda value: library.nvmlDeviceGetTemperature(device, 0, ctypes.byref(value)), 1, "C"
            ),
            "SM clock": self._asked_number(
                lambda value: library.nvmlDeviceGetClockInfo(device, 1, ctypes.byref(value)), 1, "MHz"
            ),
            "JPEG engine's load": self._jpeg(),
        }

    def _jpeg(self) -> str:
        load, period = ctypes.c_uint(), ctypes.c_uint()
        ask = getattr(self._library, "nvmlDeviceGetJpgUtilization", None)
        if ask is None:
            return "not in this driver"
        failure = self._failure(ask(self._device, ctypes.byref(load), ctypes.byref(period)))
        return failure or f"readable: {load.value} %"

    def _number(self, name: str, kind: type[Any], scale: float, unit: str) -> str:
        value = kind()
        failure = self._failure(getattr(self._library, name)(self._device, ctypes.byref(value)))
        return failure or f"readable: {value.value * scale:.0f} {unit}"

    def _asked_number(self, ask: Callable[[ctypes.c_uint], int], scale: float, unit: str) -> str:
        value = ctypes.c_uint()
        return self._failure(ask(value)) or f"{value.value * scale:.0f} {unit}"

    def _asked(self, ask: Callable[[], int], text: Any) -> str:
        return self._failure(ask()) or text.value.decode("utf-8", "replace")

    def _failure(self, code: int) -> str:
        if not code:
            return ""
        self._library.nvmlErrorString.restype = ctypes.c_char_p
        said: bytes | None = self._library.nvmlErrorString(code)
        return f"not readable ({said.decode() if said else code})"


def nvml_facts(index: int) -> dict[str, object]:
    """Of the driver's device `index`, CUDA_VISIBLE_DEVICES aside."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return {"nvml": f"not here ({error})"}
    return Nvml(library, index).facts()
