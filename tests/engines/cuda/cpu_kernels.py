"""kernels.cu compiled for this machine's CPU, behind the fake GPU's launches."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from beyond_serve.engines.cuda.kernels import NAMES, kernel_source
from tests.engines.cuda.fake_runtime import FakeRuntime

COMPILER = shutil.which("g++")
_MAIN = """
template <class Then> static const char* find(const std::string& wanted, Then then) {{
    static std::string said;
    auto keep = [&](std::string text) {{ said = text; return said.c_str(); }};
    auto named = [&](auto... rest) {{ return keep(then(rest...)); }};
    {table}
    return "no such kernel";
}}
extern "C" const char* launch(
    const char* name, const unsigned* grid, const unsigned* block, void** values, int backwards) {{
    return find(name, [=](auto kernel) {{ return on_cpu::launch(kernel, grid, block, values, backwards); }});
}}
extern "C" const char* signature(const char* name) {{
    return find(name, [](auto kernel) {{ return on_cpu::signature(kernel); }});
}}
"""


def build(folder: Path, source: str | None = None) -> ctypes.CDLL:
    """`source`, kernels.cu if None, as a library with `launch` and `signature`."""
    assert COMPILER is not None
    table = "\n    ".join(f'if (wanted == "{name}") return named({name});' for name in NAMES)
    text = source or kernel_source()
    (folder / "kernels.cpp").write_text(f'#include "cuda_on_cpu.h"\n{text}\n{_MAIN.format(table=table)}')
    subprocess.run(
        [COMPILER, "-std=c++20", "-O2", "-ffp-contract=off", "-fno-strict-aliasing", "-shared", "-fPIC",
         "-Wall", "-Wno-unknown-pragmas", "-Wno-parentheses", "-I", str(Path(__file__).parent),
         "-o", "kernels.so", "kernels.cpp"],
        check=True,
        cwd=folder,
    )  # fmt: skip
    library = ctypes.CDLL(str(folder / "kernels.so"))
    library.launch.restype = library.signature.restype = ctypes.c_char_p
    return library


class CpuKernelRuntime(FakeRuntime):
    """The fake GPU, with kernels that compute.

    Attributes:
        backwards: the order in which threads and blocks run.
        launched: each launch's kernel, the letters of its arguments' types, grid and block.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__()
        self._library = library
        self._names: dict[int, str] = {}
        self.backwards = False
        self.launched: list[tuple[str, str, tuple[int, int, int], tuple[int, int, int]]] = []

    def load_kernels(self, cubin: bytes, names: Sequence[str]) -> dict[str, int]:
        functions = super().load_kernels(cubin, names)
        self._names.update({function: name for name, function in functions.items()})
        return functions

    def launch_kernel(self, function, grid, block, arguments, stream) -> None:
        super().launch_kernel(function, grid, block, arguments, stream)
        name = self._names[function]
        values = [kind(value) for value, kind in arguments]
        self.launched.append((name, "".join(kind._type_ for _, kind in arguments), grid, block))
        self.do(stream, lambda: self._run(name, grid, block, values))

    def _run(self, name: str, grid, block, values: list) -> None:
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        shape = ctypes.c_uint * 3
        failure = self._library.launch(
            name.encode(), shape(*grid), shape(*block), pointers, int(self.backwards)
        )
        assert not failure, f"{name}: {failure.decode()}"
