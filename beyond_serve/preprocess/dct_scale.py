"""How far a JPEG may be shrunk while it is decoded, by its frequencies: one rule for core and libraries."""

from __future__ import annotations

from beyond_serve.preprocess.geometry import Geometry
from beyond_serve.preprocess.plan import Fidelity, Interpolation

FAST_RATIO = {
    Interpolation.BILINEAR: 1.3,
    Interpolation.BICUBIC: 1.4,
    Interpolation.LANCZOS: 1.45,
    Interpolation.HAMMING: 1.7,
    Interpolation.BOX: 0.0,
}
"""Scaled pixels per output pixel that "fast" keeps at least, on each axis; 0 never scales.

The least at which "fast" stays 38 dB from "exact" on both of scikit-learn's photographs at scales 1/2, 1/4
and 1/8; tests hold it there. Worst of them, bilinear: 37.0 dB at 1.2, 38.4 at 1.3, 40.7 at 1.5, 44.2 at 1.9.
Kernels fitted to the scaled pixels (integrals of the filter, filters narrowed by the decoder's own smoothing)
did no better near 1. A box keeps 30 dB at best."""


def least_ratio(interpolation: Interpolation, fidelity: Fidelity) -> float:
    """Scaled pixels per output pixel to be kept at least on each axis; 0 never scales."""
    return FAST_RATIO.get(interpolation, 0.0) if fidelity == "fast" else 0.0


def denominator(shape: Geometry, ratio: float) -> int:
    """The largest of 8, 4 and 2 that keeps `ratio`, else 1; as the native core chooses it.

    Only these: libjpeg-turbo's scales between them have no SIMD code and cost more than a full decode.
    """
    if ratio <= 0:
        return 1
    left, top, right, bottom = shape.region
    shrink = min((right - left) / shape.resized[0], (bottom - top) / shape.resized[1])
    return next((by for by in (8, 4, 2) if shrink / by >= ratio), 1)
