"""An AOTInductor package on the CPU, through the C interface that its shared library exports.

PyTorch's own Python loader holds the GIL for as long as the model computes, which would stop the event loop
(PyTorch 2.13, torch/csrc/inductor/aoti_package/pybind.cpp); ctypes gives it up. The interface is PyTorch's
stable one for this purpose: torch/csrc/inductor/aoti_runtime/interface.h and aoti_torch/c/shim.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import tempfile
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.foreign import one_line
from beyond_serve.engines.torch.archive import COMPILED, open_archive
from beyond_serve.errors import EngineError, ModelLoadError

Array = NDArray[np.generic]

_NUMPY = {
    "float32": np.float32, "float16": np.float16, "float64": np.float64, "uint8": np.uint8,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "bool": np.bool_,
}  # fmt: skip


class CompiledCpu:
    """One loaded package. Weights are shared by `models` runs at the same time; further ones wait.

    Raises:
        ModelLoadError: it cannot be loaded.
    """

    def __init__(self, torch: Any, path: Path, models: int) -> None:
        self._shim = Shim(torch)
        # The loader has mapped the library when the folder goes.
        with tempfile.TemporaryDirectory(prefix="beyond-pt2-") as folder:
            try:
                self._library = ctypes.CDLL(str(_extract(path, Path(folder))))
                self._container: c_void_p | None = self._create(models, folder)
            except (OSError, AttributeError, EngineError) as error:
                raise ModelLoadError(
                    f"the code in '{path}' cannot be loaded: {one_line(error)}",
                    "build it again with the PyTorch installed here",
                ) from error
        self._outputs = self._count_outputs()

    def _create(self, models: int, folder: str) -> c_void_p:
        container = c_void_p()
        create = self._library.AOTInductorModelContainerCreateWithDevice
        self._check(create(byref(container), c_size_t(models), b"cpu", folder.encode()))
        return container

    def _count_outputs(self) -> int:
        count = c_size_t()
        self._check(self._library.AOTInductorModelContainerGetNumOutputs(self._container, byref(count)))
        return count.value

    def _check(self, code: int) -> None:
        if not code:
            return
        message = c_char_p()
        with contextlib.suppress(AttributeError):  # older versions only print what was wrong
            self._library.AOTInductorGetLastError(byref(message))
        said = (message.value or b"its reason is on stderr").decode("utf-8", "replace")
        raise EngineError(f"the compiled model failed: {one_line(RuntimeError(said))}")

    def __call__(self, rows: Array) -> list[Array]:
        """Run `rows` [n, …], C-contiguous, and return the outputs as new arrays. Releases the GIL.

        Raises:
            EngineError: the model refuses the rows, or is closed.
        """
        if self._container is None:
            raise EngineError("the engine is closed")
        inputs = (c_void_p * 1)(self._shim.tensor(rows))
        outputs = (c_void_p * self._outputs)()
        # The model takes the inputs' handles over, also when it fails.
        self._check(
            self._library.AOTInductorModelContainerRun(
                self._container, inputs, c_size_t(1), outputs, c_size_t(self._outputs), None, None
            )
        )
        return [self._shim.take(c_void_p(handle)) for handle in outputs]

    def close(self) -> None:
        """No run may be under way."""
        container, self._container = self._container, None
        if container is not None:
            self._library.AOTInductorModelContainerDelete(container)
            ctypes.CDLL(None).dlclose(c_void_p(self._library._handle))


def _extract(path: Path, folder: Path) -> Path:
    """Unpack the package's files; returns the library that has the interface."""
    archive = open_archive(path)
    for name in archive.names:
        if name.startswith(COMPILED) and not name.endswith((".cpp", "/")):
            (folder / Path(name).name).write_bytes(archive.read(name))
    libraries = sorted(folder.glob("*.so"))
    wrapper = next((library for library in libraries if "wrapper" in library.name), None)
    if wrapper is None and len(libraries) != 1:
        raise EngineError("the package holds no compiled model")
    return wrapper or libraries[0]


class Shim:
    """The C functions of libtorch_cpu that make tensors and read them."""

    def __init__(self, torch: Any) -> None:
        folder = Path(torch.__file__).parent / "lib"
        found = sorted(path for path in folder.glob("libtorch_cpu.*") if path.suffix in (".so", ".dylib"))
        # Loaded already by torch itself; this only finds it again.
        self._library = ctypes.CDLL(str(found[0]) if found else None)
        self._cpu = self._library.aoti_torch_device_type_cpu()
        self._dtypes: dict[int, np.dtype[Any]] = {
            getattr(self._library, f"aoti_torch_dtype_{kind}")(): np.dtype(dtype)
            for kind, dtype in _NUMPY.items()
        }
        self._codes = {dtype: code for code, dtype in self._dtypes.items()}
        self._bfloat16 = self._library.aoti_torch_dtype_bfloat16()

    def tensor(self, rows: Array) -> int:
        """A tensor over the memory of `rows`, which must outlive it; to be taken over by a model."""
        handle = c_void_p()
        sizes = (c_int64 * rows.ndim)(*rows.shape)
        strides = (c_int64 * rows.ndim)(*(stride // rows.itemsize for stride in rows.strides))
        self._call(
            "create_tensor_from_blob",
            c_void_p(rows.ctypes.data),
            c_int64(rows.ndim),
            sizes,
            strides,
            c_int64(0),
            c_int32(self._codes[rows.dtype]),
            c_int32(self._cpu),
            c_int32(0),
            byref(handle),
        )
        assert handle.value is not None
        return handle.value

    def take(self, handle: c_void_p) -> Array:
        """The tensor's values as a new array, bfloat16 as float32; gives the tensor up."""
        try:
            ndim, code, data = c_int64(), c_int32(), c_void_p()
            self._call("get_dim", handle, byref(ndim))
            self._call("get_dtype", handle, byref(code))
            self._call("get_data_ptr", handle, byref(data))
            shape = self._integers("get_sizes", handle, ndim.value)
            strides = self._integers("get_strides", handle, ndim.value)
            return self._copy(data, code.value, shape, strides)
        finally:
            self._call("delete_tensor_object", handle)

    def _copy(self, data: c_void_p, code: int, shape: Sequence[int], strides: Sequence[int]) -> Array:
        bfloat16 = code == self._bfloat16
        dtype: np.dtype[Any] | None = np.dtype(np.uint16) if bfloat16 else self._dtypes.get(code)
        if dtype is None:
            raise EngineError("the model's output has a type that NumPy lacks", "make it float32")
        if 0 in shape:
            return np.zeros(shape, np.float32 if bfloat16 else dtype)
        count = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        assert data.value is not None
        memory = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(data.value)
        flat = np.frombuffer(memoryview(memory), dtype)
        values = np.lib.stride_tricks.as_strided(flat, shape, [stride * dtype.itemsize for stride in strides])
        if bfloat16:
            return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return values.copy()

    def _integers(self, name: str, handle: c_void_p, count: int) -> Sequence[int]:
        numbers = POINTER(c_int64)()
        self._call(name, handle, byref(numbers))
        return [numbers[index] for index in range(count)]

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, f"aoti_torch_{name}")(*arguments):
            raise EngineError(f"PyTorch's aoti_torch_{name} failed")
