"""`--dry-run`: what would be done here, and what not. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from beyond_serve.bench.gpu_check.part import Has, Part


def listing(parts: Sequence[Part], has: Has, why_no_gpu: str, *, quick: bool) -> list[str]:
    """A line for each part, and one for each thing that it would skip.

    Args:
        why_no_gpu: what the driver says; empty where there is a GPU.
    """
    lines: list[str] = []
    for part in parts:
        lacking = part.lacks(has)
        reasons = "; ".join(filter(None, (why_no_gpu, lacking)))
        would = f"skipped: {reasons}" if reasons else f"runs, up to {part.limit(quick=quick):g} s"
        lines.append(f"{part.name:<9} {part.title}: {would}")
        if not lacking:
            lines += [f"{'':<9}   without {skip.what}: {skip.why}" for skip in part.skips(has)]
    return lines
