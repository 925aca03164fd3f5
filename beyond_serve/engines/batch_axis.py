"""Models exported with a fixed batch: run any number of rows on them, or prove that the axis can be freed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from beyond_serve.errors import EngineError

Outputs = Mapping[str, NDArray[np.generic]]
Run = Callable[[NDArray[np.generic]], Outputs]

# Float32 sums in another order differ by some 1e-6; a row that saw another row differs by much more.
_TOLERANCE = 1e-3


def run_fixed(rows: NDArray[np.generic], batch: int, run: Run) -> Outputs:
    """Run `rows` [n, …] on a model that takes exactly `batch`; the last run repeats its last row."""
    count = len(rows)
    if count == batch:
        return run(rows)
    parts: list[Outputs] = []
    for start in range(0, count, batch):
        part = rows[start : start + batch]
        if len(part) < batch:
            part = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        parts.append(run(part))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def one_row_each(outputs: Outputs, count: int) -> Outputs:
    """`outputs` as they are.

    Raises:
        EngineError: an output has no row for each of the `count` inputs, so none could be handed out.
    """
    for name, values in outputs.items():
        if values.ndim == 0 or len(values) != count:
            raise EngineError(
                f"the output '{name}' has the shape {list(values.shape)} for a batch of {count}",
                "export the model so that every output's first axis is the batch",
            )
    return outputs


def freed_shape(shape: NDArray[np.generic], batch: int) -> NDArray[np.int64] | None:
    """A Reshape node's constant shape with its batch freed; None if it does not begin with `batch`."""
    if shape.ndim != 1 or not shape.size or shape[0] != batch:
        return None
    freed = shape.astype(np.int64)
    # -1 is what is left over; where another axis is that already, 0 keeps the input's first axis.
    freed[0] = 0 if (freed[1:] == -1).any() else -1
    return freed


def probe_rows(row_shape: tuple[int, ...], dtype: np.dtype[np.generic], count: int) -> NDArray[np.generic]:
    """Seeded rows [count, …], each different: bytes for uint8, else about normal."""
    rng = np.random.default_rng(20240321)
    if dtype == np.uint8:
        return rng.integers(0, 256, (count, *row_shape), dtype=np.uint8)
    return rng.standard_normal((count, *row_shape), dtype=np.float32).astype(dtype)


def frees_cleanly(rows: NDArray[np.generic], batch: int, run: Run, run_freed: Run) -> bool:
    """Whether the model with its batch axis made free answers `rows` as the model itself does.

    Constants of the old batch inside a graph either fail (a false return) or mix rows, which the
    comparison sees, since the rows differ.
    """
    expected = run_fixed(rows, batch, run)
    try:
        freed = run_freed(rows)
    except Exception:  # whatever a runtime raises for shapes that no longer fit
        return False
    return all(_equal(values, freed[name]) for name, values in expected.items())


def _equal(expected: NDArray[np.generic], freed: NDArray[np.generic]) -> bool:
    if expected.shape != freed.shape:
        return False
    scale = float(np.abs(expected.astype(np.float64)).max(initial=0))
    return bool(np.allclose(freed, expected, rtol=_TOLERANCE, atol=_TOLERANCE * scale))
