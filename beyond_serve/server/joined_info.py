"""What several engines of one model, a device each, are together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.errors import ModelLoadError

_EQUAL = ("engine", "precision", "inputs", "outputs", "image_shape", "takes_encoded", "scores", "fixed_batch")


def joined_info(name: str, infos: Sequence[EngineInfo]) -> EngineInfo:
    """One info for all devices of the model `name`: what each of them can do. `device` lists them.

    Raises:
        ModelLoadError: they would give different answers: which one would be chance.
    """
    first = infos[0]
    for other in infos[1:]:
        for field in _EQUAL:
            mine, theirs = getattr(first, field), getattr(other, field)
            if mine != theirs:
                what = f"{field.replace('_', ' ')} {mine} on {first.device} and {theirs} on {other.device}"
                raise ModelLoadError(
                    f"the devices of '{name}' do not agree: {what}",
                    "name the engine and the precision (--engine, --precision), or leave one device out",
                )
    limits = [info.max_batch for info in infos if info.max_batch is not None]
    return replace(
        first,
        device=",".join(info.device for info in infos),
        max_batch=min(limits, default=None),
        ranks=min(info.ranks for info in infos),
        warnings=_once(warning for info in infos for warning in info.warnings),
    )


def _once(warnings: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(warnings))
