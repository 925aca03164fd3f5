"""A .pt2 file on the CPU as a function from one tensor to arrays, whichever kind it is."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.foreign import one_line
from beyond_serve.engines.torch.compiled_cpu import CompiledCpu
from beyond_serve.engines.torch.facts import Pt2Facts
from beyond_serve.engines.torch.library import checked_inputs
from beyond_serve.errors import EngineError, ModelLoadError

Array = NDArray[np.generic]


class CpuRunner(Protocol):
    """Called by several threads at once, with the GIL released while it computes."""

    def __call__(self, values: Any) -> list[Array]:
        """Run a tensor [n, …] and return every output; the arrays may be kept. Raises EngineError."""
        ...

    def close(self) -> None: ...


def open_runner(torch: Any, path: Path, facts: Pt2Facts, instances: int) -> CpuRunner:
    """
    Raises:
        ModelLoadError: PyTorch refuses the file.
    """
    if facts.kind == "aoti":
        return CompiledRunner(torch, path, instances)
    return ExportedRunner(torch, path, facts)


def try_out(
    torch: Any, path: Path, row: tuple[int, ...], dtype: np.dtype[Any], batches: Sequence[int]
) -> None:
    """Run a compiled package that others describe, in a copy of its own that looks at its inputs.

    Raises:
        ModelLoadError: it was compiled for other inputs.
    """
    with checked_inputs():
        copy = CompiledCpu(torch, path, 1)
        try:
            for batch in batches:
                copy(np.zeros((batch, *row), dtype))
        except EngineError as error:
            raise wrong_description(path, error) from error
        finally:
            copy.close()


def probe_batches(fixed: int | None, largest: int) -> tuple[int, ...]:
    return (fixed,) if fixed is not None else tuple(sorted({2, max(2, largest)}))


def wrong_description(path: Path, error: EngineError) -> ModelLoadError:
    return ModelLoadError(
        f"'{path}' does not take the input that its sidecar describes: {error.message}",
        f"mend [pt2] in {path.with_suffix('.toml').name}",
    )


class CompiledRunner:
    def __init__(self, torch: Any, path: Path, instances: int) -> None:
        self._compiled = CompiledCpu(torch, path, instances)

    def __call__(self, values: Any) -> list[Array]:
        # Compiled for one order of axes in memory.
        return self._compiled(values.contiguous().numpy())

    def close(self) -> None:
        self._compiled.close()


class ExportedRunner:
    """The exported program's operators one by one."""

    def __init__(self, torch: Any, path: Path, facts: Pt2Facts) -> None:
        self._torch = torch
        self._module: Any = load_program(torch, path).module()
        self._module.to(memory_format=torch.channels_last)
        self._keyword = facts.keyword
        self._leaves = torch.utils._pytree.tree_leaves

    def __call__(self, values: Any) -> list[Array]:
        module, torch = self._module, self._torch
        if module is None:
            raise EngineError("the engine is closed")
        with torch.inference_mode():
            result = module(values) if self._keyword is None else module(**{self._keyword: values})
            return [_as_array(torch, leaf, values) for leaf in self._leaves(result) if torch.is_tensor(leaf)]

    def close(self) -> None:
        self._module = None


def load_program(torch: Any, path: Path) -> Any:
    """The torch.export.ExportedProgram in `path`. Raises ModelLoadError."""
    try:
        return torch.export.load(str(path))
    except Exception as error:  # PyTorch's own errors here have no common base
        raise ModelLoadError(
            f"PyTorch {torch.__version__} cannot load '{path}': {one_line(error)}",
            "export it again with this version, from a module that returns tensors, a tuple or a dict",
        ) from error


def _as_array(torch: Any, leaf: Any, given: Any) -> Array:
    if leaf.dtype == torch.bfloat16:
        leaf = leaf.to(torch.float32)
    if leaf.untyped_storage().data_ptr() == given.untyped_storage().data_ptr():
        leaf = leaf.clone()
    array: Array = leaf.contiguous().numpy()
    return array


def as_tensor(torch: Any, rows: Array) -> Any:
    """A tensor over `rows`, which must outlive it. PyTorch knows no memory that is only read and warns of
    it; models do not write to their inputs."""
    if rows.flags.writeable:
        return torch.from_numpy(rows)
    memory = (ctypes.c_uint8 * rows.nbytes).from_address(rows.ctypes.data)
    return torch.from_numpy(np.frombuffer(memoryview(memory), rows.dtype).reshape(rows.shape))
