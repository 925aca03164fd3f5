"""kernels.cu compiled for this machine's CPU, behind the fake GPU's launches."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from beyond_serve.engines.cuda.kernels import NAMES, Kernels, kernel_source
from beyond_serve.engines.image_input import ImageInput
from beyond_serve.engines.tensor_rows import DTYPES
from tests.engines.cuda.fake_runtime import FakeRuntime

COMPILER = shutil.which("g++")
GUARD = 64
"""Bytes behind each output that must stay as they were."""

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


class Device:
    """Runs kernels on arrays."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.runtime = CpuKernelRuntime(library)
        self.kernels = Kernels(self.runtime, lambda source, capability: b"")
        self.stream = self.runtime.create_stream()

    def put(self, array: np.ndarray) -> int:
        address = self.runtime.allocate(array.nbytes)
        self.runtime.view(address, array.dtype, array.shape)[...] = array
        return address

    def room(self, nbytes: int) -> int:
        address = self.runtime.allocate(nbytes + GUARD)
        self.runtime.view(address + nbytes, np.uint8, [GUARD])[...] = 0xEE
        return address

    def take(self, address: int, dtype: np.typing.DTypeLike, shape: tuple[int, ...]) -> np.ndarray:
        self.runtime.synchronize(self.stream)
        array = self.runtime.view(address, dtype, shape).copy()
        assert (self.runtime.view(address + array.nbytes, np.uint8, [GUARD]) == 0xEE).all()
        return array

    def normalise(self, rows: np.ndarray, image: ImageInput) -> np.ndarray:
        shape, dtype = (len(rows), *image.row_shape), DTYPES[image.datatype]
        source, target = self.put(rows), self.room(int(np.prod(shape)) * dtype.itemsize)
        self.kernels.normalise(source=source, target=target, rows=len(rows), image=image, stream=self.stream)
        result = self.take(target, dtype, shape)
        self.runtime.free(source), self.runtime.free(target)
        return result

    def rank(
        self, scores: np.ndarray, k: int, *, datatype: str, probabilities: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, classes = scores.shape
        addresses = self.put(scores), self.room(rows * k * 4), self.room(rows * k * 4)
        self.kernels.rank(
            scores=addresses[0],
            datatype=datatype,
            rows=rows,
            classes=classes,
            k=k,
            probabilities=probabilities,
            top_scores=addresses[1],
            top_indices=addresses[2],
            stream=self.stream,
        )
        result = self.take(addresses[1], np.float32, (rows, k)), self.take(addresses[2], np.int32, (rows, k))
        for address in addresses:
            self.runtime.free(address)
        return result
