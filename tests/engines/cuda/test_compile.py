from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from beyond_serve.engines.cuda.compile import choose_architecture, compile_cubin
from beyond_serve.engines.cuda.kernels import NAMES, Kernels, kernel_source
from beyond_serve.errors import ModelLoadError
from tests.engines.cuda.fake_runtime import FakeRuntime

SUPPORTED = (75, 80, 86, 89, 90, 100, 120)
OK = SimpleNamespace(name="NVRTC_SUCCESS")
BROKEN = SimpleNamespace(name="NVRTC_ERROR_COMPILATION")


class FakeNvrtc:
    """As cuda.bindings.nvrtc: calls give a code and values, and write into the bytes they are given."""

    nvrtcResult = SimpleNamespace(NVRTC_SUCCESS=OK)  # noqa: N815

    def __init__(self, *, log: str = "", missing: str | None = None) -> None:
        self.log, self.missing = log.encode() + b"\0", missing
        self.compiled: list[tuple[bytes, list[bytes]]] = []
        self.alive = 0

    def nvrtcGetSupportedArchs(self):  # noqa: N802
        if self.missing:
            raise RuntimeError(self.missing)
        return OK, list(SUPPORTED)

    def nvrtcCreateProgram(self, source, name, count, headers, names):  # noqa: N802
        self.alive += 1
        return OK, source

    def nvrtcCompileProgram(self, program, count, options):  # noqa: N802
        self.compiled.append((program, options))
        return ((BROKEN if len(self.log) > 1 else OK),)

    def nvrtcGetProgramLogSize(self, program):  # noqa: N802
        return OK, len(self.log)

    def nvrtcGetProgramLog(self, program, into):  # noqa: N802
        return self._write(into, self.log)

    def nvrtcGetCUBINSize(self, program):  # noqa: N802
        return OK, 4

    def nvrtcGetCUBIN(self, program, into):  # noqa: N802
        return self._write(into, b"cubi")

    def nvrtcDestroyProgram(self, program):  # noqa: N802
        self.alive -= 1
        return (OK,)

    def _write(self, into: bytes, text: bytes):
        import ctypes

        # As the real ones do: the caller's bytes are filled in place.
        ctypes.memmove(ctypes.cast(ctypes.c_char_p(into), ctypes.c_void_p), text, len(text))
        return (OK,)


@pytest.fixture
def nvrtc(monkeypatch: pytest.MonkeyPatch):
    compile_cubin.cache_clear()

    def install(fake: FakeNvrtc) -> FakeNvrtc:
        monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", fake)  # type: ignore[arg-type]
        return fake

    yield install
    compile_cubin.cache_clear()


@pytest.mark.parametrize(
    ("capability", "architecture"),
    [((8, 0), "sm_80"), ((8, 7), "sm_86"), ((9, 0), "sm_90"), ((12, 1), "sm_120"), ((7, 5), "sm_75")],
)
def test_the_newest_that_runs_there_is_chosen(capability: tuple[int, int], architecture: str) -> None:
    assert choose_architecture(capability, SUPPORTED) == architecture


@pytest.mark.parametrize(
    ("capability", "hint"), [((7, 0), "nvidia-cuda-nvrtc-cu12"), ((13, 0), "install -U"), ((11, 0), "-U")]
)
def test_a_device_that_is_not_known_is_told(capability: tuple[int, int], hint: str) -> None:
    with pytest.raises(ModelLoadError, match=rf"capability {capability[0]}\.{capability[1]}") as raised:
        choose_architecture(capability, SUPPORTED)
    assert hint in (raised.value.hint or "")


def test_each_source_is_compiled_once_per_architecture(nvrtc) -> None:
    fake = nvrtc(FakeNvrtc())
    for capability in ((9, 0), (9, 0), (8, 0)):
        assert compile_cubin("one", capability) == b"cubi"
    compile_cubin("two", (9, 0))
    options = b"--std=c++17"
    assert fake.compiled == [
        (b"one", [b"--gpu-architecture=sm_90", options]),
        (b"one", [b"--gpu-architecture=sm_80", options]),
        (b"two", [b"--gpu-architecture=sm_90", options]),
    ]
    assert fake.alive == 0


def test_the_first_error_is_told(nvrtc) -> None:
    fake = nvrtc(FakeNvrtc(log="a.cu(3): warning: dull\na.cu(4): error: no such thing\na.cu(9): error: b\n"))
    with pytest.raises(ModelLoadError, match=r"for sm_90: a.cu\(4\): error: no such thing$"):
        compile_cubin("broken", (9, 0))
    assert fake.alive == 0


def test_a_missing_library_names_its_package(nvrtc) -> None:
    nvrtc(FakeNvrtc(missing='Failure finding "libnvrtc.so.13"'))
    with pytest.raises(ModelLoadError, match="NVRTC cannot be loaded: Failure finding") as raised:
        compile_cubin("x", (9, 0))
    assert raised.value.hint == "pip install cuda-bindings nvidia-cuda-nvrtc"


def test_kernels_are_compiled_for_the_runtimes_device() -> None:
    asked = []

    def compiled(source: str, capability: tuple[int, int]) -> bytes:
        asked.append((source, capability))
        return b"cubin"

    Kernels(FakeRuntime(), compiled)
    assert asked == [(kernel_source(), (9, 0))]


@pytest.mark.parametrize("capability", [(8, 0), (9, 0), (12, 0)])
def test_nvrtc_compiles_the_kernels(capability: tuple[int, int]) -> None:
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:
        pytest.skip(f"NVRTC is not installed: {error}")
    compile_cubin.cache_clear()
    cubin = compile_cubin(kernel_source(), capability)
    assert cubin.startswith(b"\x7fELF")
    for name in NAMES:
        assert name.encode() in cubin
    with pytest.raises(ModelLoadError, match=r"identifier .nonsense. is undefined"):
        compile_cubin('extern "C" __global__ void f() { nonsense(); }', capability)
