"""Which neighbouring steps may change places, and what they become (SMOL 6.2, rules of reordering).

1. Normalising and converting may stand anywhere legal. Illegal is: across a user's function; converting
   across a filter that overshoots, because uint8 clips there and float32 does not.
2. Converting, normalising and reordering are fused into one pass.
3. A crop may go before a resize, as the resize of a region. The other direction would not be exact: what was
   cropped first hides from the filter what lies beyond its edge. A box filter has this at whole ratios only.
"""

from __future__ import annotations

from dataclasses import replace

from beyond_serve.preprocess.dag.bind import narrowed
from beyond_serve.preprocess.dag.bound import (
    OVERSHOOTING,
    Cut,
    Fused,
    Pointwise,
    Resample,
    Step,
    Steps,
    walk,
)
from beyond_serve.preprocess.dag.ops import Convert, Normalize, Reorder, UserFunction
from beyond_serve.preprocess.dag.spec import ImageSpec
from beyond_serve.preprocess.plan import Interpolation


def swapped(first: Step, second: Step, given: ImageSpec) -> Steps | None:
    """The two in the other order, doing the same; None where that is not legal.

    given: what reaches `first`.
    """
    match first.op, second.op:
        case Resample() as resample, Cut() as cut:
            if not _has_windows(resample):
                return None
            reach, region = resample.cropped(cut, given)
            # Both do the crop's work: should the reach be everything, the window alone is left of it.
            return Step(reach, second.origins), Step(region, (*first.origins, *second.origins))
        case UserFunction() as function, Cut():
            legal = function.pointwise and not _sized(function)
        case UserFunction() as function, Resample() as resample:
            nearest = resample.interpolation is Interpolation.NEAREST
            legal = function.pointwise and not _sized(function) and nearest
        case (Convert() | Normalize() | Reorder() as pointwise, Resample() as resample) | (
            Resample() as resample,
            Convert() | Normalize() | Reorder() as pointwise,
        ):
            legal = not (isinstance(pointwise, Convert) and resample.interpolation in OVERSHOOTING)
        case (Convert() | Normalize() | Reorder(), Cut()) | (Cut(), Convert() | Normalize() | Reorder()):
            legal = True
        case Convert() | Normalize(), Reorder() as reorder:
            return second, _recoloured(first, reorder)
        case Reorder() as reorder, Convert() | Normalize():
            return _recoloured(second, reorder), first
        case _:
            legal = False
    return (second, first) if legal else None


def _has_windows(resample: Resample) -> bool:
    """Whether a part of the source gives a part of the result. A box takes a pixel whole or not at all, and
    Pillow holds a box's place in single precision: the same pixels only where edges fall between pixels."""
    if resample.interpolation is not Interpolation.BOX:
        return True
    return all(long % short == 0 for long, short in zip(resample.full, resample.resized, strict=True))


def _sized(function: UserFunction) -> bool:
    """It takes one size only: moving a crop or a resize would give it another."""
    return bool(function.takes[0].height or function.takes[0].width)


def _recoloured(step: Step, reorder: Reorder) -> Step:
    """A normalisation on the other side of a change of colours: its numbers change places with them."""
    if isinstance(step.op, Normalize) and reorder.colour:
        return replace(step, op=Normalize(step.op.mean[::-1], step.op.std[::-1]))
    return step


def tidy(steps: Steps, entry: ImageSpec) -> Steps:
    """Leaves out what does nothing and makes one of neighbouring cuts and of neighbouring reorderings."""
    kept: list[Step] = []
    entries: list[ImageSpec] = []
    spec = entry
    for step in steps:
        here, start = step, spec
        merged = _merged(kept[-1], step) if kept else None
        if merged is not None:
            kept.pop()
            here, start = merged, entries.pop()
        if isinstance(here.op, Reorder):
            here = replace(here, op=narrowed(here.op, start))
        spec = start
        if not _does_nothing(here, start):
            kept.append(here)
            entries.append(start)
            spec = here.op.output(start)
    return tuple(kept)


def _merged(first: Step, second: Step) -> Step | None:
    origins = (*first.origins, *(name for name in second.origins if name not in first.origins))
    match first.op, second.op:
        case Cut() as outer, Cut() as inner:
            return Step(inner.inside(outer), origins)
        case Reorder() as one, Reorder() as other:
            return Step(Reorder(other.layout or one.layout, other.colour or one.colour), origins)
    return None


def _does_nothing(step: Step, spec: ImageSpec) -> bool:
    match step.op:
        case Cut() as cut:
            return (cut.width, cut.height) == (spec.width, spec.height)
        case Resample() as resample:
            # Pillow copies where the size stays; a window of that is for a cut.
            whole = (resample.window.width, resample.window.height) == resample.full
            return resample.full == resample.resized and whole
        case Reorder() as reorder:
            return reorder.layout is None and reorder.colour is None
    return False


def neighbours(steps: Steps, entry: ImageSpec) -> list[Steps]:
    """Every chain that one legal swap leads to."""
    found = []
    for position, (step, given) in enumerate(walk(steps[:-1], entry)):
        pair = swapped(step, steps[position + 1], given)
        if pair is not None:
            found.append(tidy((*steps[:position], *pair, *steps[position + 2 :]), entry))
    return found


def fused(steps: Steps) -> Steps:
    """The chain with every run of neighbouring conversions, normalisations and reorderings as one step."""
    made: list[Step] = []
    run: list[Step] = []
    for step in (*steps, None):
        if step is not None and isinstance(step.op, Convert | Normalize | Reorder):
            run.append(step)
            continue
        if len(run) > 1:
            made.append(_one_pass(run))
        else:
            made.extend(run)
        run = []
        if step is not None:
            made.append(step)
    return tuple(made)


def _one_pass(run: list[Step]) -> Step:
    ops: list[Pointwise] = []
    for step in run:
        assert isinstance(step.op, Convert | Normalize | Reorder)
        ops.append(step.op)
    return Step(Fused(tuple(ops)), tuple(dict.fromkeys(name for step in run for name in step.origins)))
