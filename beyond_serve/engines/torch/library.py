"""The seam to PyTorch: imported when a .pt2 file is loaded, its settings made explicit, its errors ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from beyond_serve.engines.foreign import require

_CHECK = "AOTI_RUNTIME_CHECK_INPUTS"


def load_library() -> Any:
    """The module `torch`. Raises ModelLoadError if it is not installed, or is broken."""
    return require("torch")


@contextmanager
def checked_inputs() -> Iterator[None]:
    """A compiled model that runs for the first time within refuses, from then on, inputs of another shape
    than it was compiled for; it would otherwise read past their end. It also refuses single rows, though it
    computes them well (PyTorch 2.13), so that this is for trying a file out only."""
    before = os.environ.get(_CHECK)
    os.environ[_CHECK] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CHECK]
        else:
            os.environ[_CHECK] = before


def make_explicit(torch: Any) -> None:
    """fp32 means float32: no TF32, which keeps 10 bits of each factor. Reduced precision is asked for by
    building the file in bf16 or fp16. Convolution algorithms are measured at each size's first run."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def use_threads(torch: Any, threads: int) -> None:
    """Let the calling thread compute with a pool of `threads`; pools are one per calling thread (OpenMP),
    so that other instances keep theirs."""
    # The first question makes a thread take over the process's last setting, so it must come first.
    torch.get_num_threads()
    torch.set_num_threads(threads)
