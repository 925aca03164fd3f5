# ruff: noqa: N802 - the names are pynvml's
from __future__ import annotations

from types import SimpleNamespace

import pytest

from beyond_serve.bench import machine as module
from beyond_serve.bench.gpus import gpu_line


class NVMLError(Exception):
    pass


class Nvml:
    """pynvml on a machine of three cards; `refuses` names the call that fails."""

    NVMLError = NVMLError
    cards = (("NVIDIA H200", 139.8), ("NVIDIA H200", 139.8), (b"NVIDIA L4", 22.5))

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses

    def nvmlInit(self) -> None:
        self._may("nvmlInit")

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"580.95.05"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return self.cards[handle][0]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        self._may("nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(total=self.cards[handle][1] * 2**30)

    def _may(self, call: str) -> None:
        if call == self.refuses:
            raise NVMLError(call)


def test_cards_are_counted_with_memory_and_driver() -> None:
    names = ("NVIDIA H200", "NVIDIA H200", "NVIDIA L4")
    assert gpu_line(names, Nvml()) == "2 x NVIDIA H200 (140 GiB), NVIDIA L4 (22 GiB), driver 580.95.05"


def test_only_those_that_this_process_may_use() -> None:
    assert gpu_line(("NVIDIA L4",), Nvml()) == "NVIDIA L4 (22 GiB), driver 580.95.05"
    assert gpu_line((), Nvml()) == ""


def test_names_remain_where_nothing_more_is_said() -> None:
    for refuses in ("nvmlInit", "nvmlDeviceGetMemoryInfo"):
        assert gpu_line(("NVIDIA L4",), Nvml(refuses)) == "NVIDIA L4"


def test_the_machine_has_the_key_only_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gpu_line", lambda: "NVIDIA L4")
    assert module.machine()["gpu"] == "NVIDIA L4"
    monkeypatch.setattr(module, "gpu_line", lambda: "")
    assert "gpu" not in module.machine()
