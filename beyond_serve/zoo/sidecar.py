"""Writing NAME.toml, from which the server reads a model's preprocessing and labels."""

from __future__ import annotations

import json
from collections.abc import Sequence

from beyond_serve.preprocess.plan import PreprocessPlan, Resize


def sidecar_text(plan: PreprocessPlan, labels: Sequence[str] | None, comment: str) -> str:
    """TOML from which `preset_sidecar.plan_of_sidecar` and `labels.load_labels` read the same again."""
    how = plan.normalization
    lines = [f"# {line}" for line in comment.splitlines()]
    if labels is not None:
        lines += ["labels = [", *(f"  {_text(label)}," for label in labels), "]"]
    lines += ["", "[preprocess]", f"resize = {_text(plan.resize)}"]
    if plan.resize is not Resize.NONE:
        lines += [f"size = {_size(plan.size)}", f"interpolation = {_text(plan.interpolation)}"]
    lines += [
        f"crop = {_size(plan.crop) if plan.crop else 'false'}",
        f"crop_rounding = {_text(plan.crop_rounding)}",
        f"scale = {how.scale!r}",
        f"mean = {list(how.mean)}",
        f"std = {list(how.std)}",
        f"channel_order = {_text(how.channel_order)}",
    ]
    return "\n".join(lines) + "\n"


def _size(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else str(list(size))


def _text(value: str) -> str:
    # JSON's strings are TOML's basic strings, but for DEL, which TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
