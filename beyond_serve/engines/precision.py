"""Whether a reduced precision still gives the model's answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.errors import ModelLoadError

PROBES = 2
# RMS error over RMS spread. bf16 keeps 8 bits, 0.4 % a rounding; a ResNet-50's logits differ by about
# 0.5 %, transformers' by 1 to 2 %. Garbage differs by 100 %. The border between is an invented number.
TOLERANCE = 0.05
_LEAST_PROBABILITY = 1e-6
# Logits closer together than this give the classes equal chances, whatever their order.
_LEAST_SPREAD = 0.1


def probe_images(shape: tuple[int, int, int], count: int = PROBES) -> NDArray[np.uint8]:
    """Seeded images uint8 [count, H, W, 3]: smooth gradients of growing frequency under noise."""
    height, width, _ = shape
    rng = np.random.default_rng(20240321)
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    images = np.empty((count, *shape), np.uint8)
    for index in range(count):
        phase = rng.uniform(0, 2 * np.pi, 3).astype(np.float32)
        wave = np.sin(2 * np.pi * (index + 1) * x + phase) * np.cos(np.pi * (index + 1) * y + phase)
        noise = rng.standard_normal(shape, dtype=np.float32)
        images[index] = np.clip(128 + 80 * wave + (12 + 24 * index) * noise, 0, 255).astype(np.uint8)
    return images


def disagreement(
    reference: Mapping[str, NDArray[np.generic]], reduced: Mapping[str, NDArray[np.generic]], info: EngineInfo
) -> str | None:
    """What is wrong with `reduced`, measured against float32's `reference`; None if it is good.

    Each float output [n, …] must be finite and within `TOLERANCE`. Scores are compared as logits
    without their mean, since softmax ignores it; and the best class must be float32's own, or one
    that float32 rates as good within the tolerance.
    """
    for name, expected in reference.items():
        if expected.dtype.kind != "f":
            continue
        want, got = expected.astype(np.float64), reduced[name].astype(np.float64)
        if not np.isfinite(want).all():
            return f"'{name}' cannot be compared, since float32 itself gives NaN or infinity"
        if not np.isfinite(got).all():
            return f"'{name}' has NaN or infinity"
        if name == info.scores:
            wrong = _scores_differ(name, want, got, info.scores_are_probabilities)
        else:
            wrong = _too_far(name, want, got)
        if wrong is not None:
            return wrong
    return None


def _scores_differ(
    name: str, want: NDArray[np.float64], got: NDArray[np.float64], probabilities: bool
) -> str | None:
    want, got = want.reshape(len(want), -1), got.reshape(len(got), -1)
    if probabilities:
        want, got = (np.log(np.maximum(scores, _LEAST_PROBABILITY)) for scores in (want, got))
    if want.shape[1] == 1:
        return _too_far(name, want, got)
    want = want - want.mean(axis=1, keepdims=True)
    got = got - got.mean(axis=1, keepdims=True)
    spread = np.maximum(np.sqrt((want**2).mean(axis=1)), _LEAST_SPREAD)
    chosen = np.take_along_axis(want, got.argmax(axis=1)[:, None], axis=1)[:, 0]
    if (want.max(axis=1) - chosen > 2 * TOLERANCE * spread).any():
        return f"'{name}' has another best class"
    return _too_far(name, want, got, _LEAST_SPREAD)


def _too_far(
    name: str, want: NDArray[np.float64], got: NDArray[np.float64], least_spread: float = 1e-6
) -> str | None:
    spread = max(float(np.sqrt((want**2).mean())), least_spread)
    error = float(np.sqrt(((got - want) ** 2).mean()))
    return None if error <= TOLERANCE * spread else f"'{name}' differs by {error / spread:.1%}"


def choose_precision(
    requested: str, *, quantized: bool, fast_bf16: bool, capabilities: Collection[str]
) -> str:
    """The precision to try: fp32, bf16, fp16 or int8.

    Args:
        capabilities: what OpenVINO says the CPU can do at all.

    Raises:
        ModelLoadError: the one asked for cannot be had on this CPU or with this model.
    """
    if requested == "auto":
        if quantized:
            return "int8"
        return "bf16" if fast_bf16 else "fp32"
    if requested == "int8" and not quantized:
        raise ModelLoadError(
            "precision int8 needs a model file that is quantised, and this one is not",
            "quantise it first (NNCF, onnxruntime.quantization), or use --precision auto",
        )
    if requested in ("bf16", "fp16") and requested.upper() not in capabilities:
        raise ModelLoadError(f"this CPU has no {requested}", "use --precision auto or fp32")
    return requested
