"""What NVIDIA's libraries are asked through ctypes, with libraries that answer as scripted."""

from __future__ import annotations

import ctypes

import pytest

from beyond_serve.bench.gpu_check.nvjpeg import hardware, nvjpeg_facts
from beyond_serve.bench.gpu_check.nvml import Nvml, nvml_facts


class _Answers:
    """A function of a C library: answers with a code after writing values where its pointers point."""

    def __init__(self, code: int, *values: object) -> None:
        self.code = code
        self.values = values
        self.calls = 0

    def __call__(self, *arguments: object) -> int:
        self.calls += 1
        pointers = [each for each in arguments if hasattr(each, "_obj")]
        for pointer, value in zip(pointers, self.values, strict=False):
            pointer._obj.value = value
        for text in arguments:
            if isinstance(text, ctypes.Array) and self.values:
                text.value = self.values[0]
        return self.code


class _ErrorString:
    def __call__(self, code: int) -> bytes:
        return f"code {code}".encode()


class _Nvml:
    def __init__(self, **others) -> None:
        self.nvmlErrorString = _ErrorString()
        self.nvmlInit_v2 = _Answers(0)
        self.nvmlDeviceGetHandleByIndex_v2 = _Answers(0, 7)
        self.nvmlSystemGetDriverVersion = _Answers(0, b"580.159")
        self.nvmlDeviceGetTotalEnergyConsumption = _Answers(0, 5_000_000)
        self.nvmlDeviceGetPowerUsage = _Answers(3)
        self.nvmlDeviceGetTemperature = _Answers(0, 41)
        self.nvmlDeviceGetClockInfo = _Answers(0, 1980)
        self.__dict__.update(others)


def test_nvml() -> None:
    facts = Nvml(_Nvml(), 0).facts()
    assert facts == {
        "driver": "580.159",
        "energy since the driver was loaded": "readable: 5000 J",
        "power": "not readable (code 3)",
        "temperature": "41 C",
        "SM clock": "1980 MHz",
        "JPEG engine's load": "not in this driver",
    }
    facts = Nvml(_Nvml(nvmlDeviceGetJpgUtilization=_Answers(0, 12, 1000)), 0).facts()
    assert facts["JPEG engine's load"] == "readable: 12 %"


def test_nvml_that_does_not_start() -> None:
    assert Nvml(_Nvml(nvmlInit_v2=_Answers(9)), 0).facts() == {"nvml": "not readable (code 9)"}


class _NvJpeg:
    def __init__(self, created: int = 0, **others) -> None:
        self.nvjpegCreateEx = _Answers(created, 7)
        self.nvjpegDestroy = _Answers(0)
        self.__dict__.update(others)


@pytest.mark.parametrize(
    ("library", "said"),
    [
        (_NvJpeg(nvjpegGetHardwareDecoderInfo=_Answers(0, 7, 1)), "7 engines of 1 cores"),
        (_NvJpeg(nvjpegGetHardwareDecoderInfo=_Answers(4)), "not told (4)"),
        (_NvJpeg(), "there; this nvJPEG does not say more"),
        (_NvJpeg(6), "no hardware decoder (nvjpegCreateEx: 6)"),
    ],
)
def test_nvjpeg(library: _NvJpeg, said: str) -> None:
    assert hardware(library) == said
    assert library.nvjpegDestroy.calls == (0 if library.nvjpegCreateEx.code else 1)


def test_without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: str) -> None:
        raise OSError(f"{path}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert nvml_facts(0) == {"nvml": "not here (libnvidia-ml.so.1: cannot open shared object file)"}
    assert nvjpeg_facts() == {"nvjpeg": "not installed"}
