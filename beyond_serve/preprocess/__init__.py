"""From encoded images to rows of a model's input: `decode` for one, `Pool` for many; no server needed.

The names below load on first use, so that importing one module of this package loads no decoder.
See docs/preprocessing.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beyond_serve.preprocess.capabilities import Decoder
    from beyond_serve.preprocess.decode_pool import Pool
    from beyond_serve.preprocess.decoding import Decoded, decode
    from beyond_serve.preprocess.geometry import Region
    from beyond_serve.preprocess.header import ImageHeader, read_header
    from beyond_serve.preprocess.limits import PixelLimits
    from beyond_serve.preprocess.plan import (
        CropRounding,
        Fidelity,
        Interpolation,
        Normalization,
        PreprocessPlan,
        Resize,
    )

__all__ = [
    "CropRounding",
    "Decoded",
    "Decoder",
    "Fidelity",
    "ImageHeader",
    "Interpolation",
    "Normalization",
    "PixelLimits",
    "Pool",
    "PreprocessPlan",
    "Region",
    "Resize",
    "decode",
    "read_header",
]

_MODULES = {
    "capabilities": ("Decoder",),
    "decode_pool": ("Pool",),
    "decoding": ("Decoded", "decode"),
    "geometry": ("Region",),
    "header": ("ImageHeader", "read_header"),
    "limits": ("PixelLimits",),
    "plan": ("CropRounding", "Fidelity", "Interpolation", "Normalization", "PreprocessPlan", "Resize"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
