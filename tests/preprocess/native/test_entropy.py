"""Our entropy decoder against libjpeg's: equal pixels on good data, equal judgement on bad."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.preprocess.native import NativeFlag, NativeOutcome, NativeParams, available, native_module
from tests.preprocess.native.jpegs import picture

pytestmark = pytest.mark.skipif(not available(), reason="the native core is not built here")

TOLERANT = NativeFlag.FANCY_UPSAMPLING | NativeFlag.TOLERATE_CORRUPT


def both(data: bytes, params: NativeParams) -> tuple[NativeOutcome, NativeOutcome]:
    """Outcomes of ours and libjpeg's; asserts that they agree, pixels too."""
    outcomes, slots = [], []
    for flag in (NativeFlag(0), NativeFlag.LIBRARY_ENTROPY):
        slot = np.zeros((params.height, params.width, 3), np.uint8)
        given_params = params._replace(flags=params.flags | flag)
        outcomes.append(NativeOutcome._make(native_module().decode(data, given_params, slot)))
        slots.append(slot)
    ours, theirs = outcomes
    assert (ours.status, ours.message, ours.byte, ours.row, ours.warnings) == (
        theirs.status, theirs.message, theirs.byte, theirs.row, theirs.warnings,
    )  # fmt: skip
    if ours.status == 0:
        np.testing.assert_array_equal(*slots)
    return ours, theirs


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, int, int]:
    width, height = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    image = picture(
        width, height, seed=draw(st.integers(0, 9)), noise=draw(st.sampled_from([0.0, 5.0, 60.0]))
    )
    grey = draw(st.booleans())
    buffer = BytesIO()
    (image.convert("L") if grey else image).save(
        buffer,
        "JPEG",
        quality=draw(st.integers(1, 100)),
        optimize=draw(st.booleans()),
        restart_marker_blocks=draw(st.sampled_from([0, 1, 3, 8])),
        **({} if grey else {"subsampling": draw(st.integers(0, 2))}),
    )
    return buffer.getvalue(), width, height


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    ends = [sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1)))) for _ in range(2)]
    (x0, x1), (y0, y1) = ends
    return (x0, y0, x1, y1) if x1 - x0 > 0.01 and y1 - y0 > 0.01 else (0.0, 0.0, 1.0, 1.0)


def params_for(width: int, height: int, box: tuple[float, float, float, float], scale: int) -> NativeParams:
    """An output so small against the box that it is decoded at 1 / scale."""
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    ratio = 0.0 if scale == 1 else 1e-3
    size = max(1, round((x1 - x0) / scale)), max(1, round((y1 - y0) / scale))
    return NativeParams(x0, y0, x1, y1, *size, 0, 0, *size, min_ratio=ratio * 125 * 8 / scale if ratio else 0)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(files(), boxes(), st.sampled_from([1, 2, 4, 8]))
def test_equal_pixels(
    file: tuple[bytes, int, int], box: tuple[float, float, float, float], scale: int
) -> None:
    data, width, height = file
    ours, _ = both(data, params_for(width, height, box, scale))
    assert ours.status == 0


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(files(), boxes(), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=6))
def test_equal_judgement_of_damage(file, box, damage) -> None:
    data, width, height = file
    broken = bytearray(data)
    # The entropy-coded part: what stands before it is libjpeg's business alone.
    start = data.index(b"\xff\xda")
    for place, change in damage:
        broken[start + int(place * (len(data) - 1 - start))] ^= change
    both(bytes(broken), params_for(width, height, box, 1)._replace(flags=TOLERANT))
    both(bytes(broken), params_for(width, height, box, 1))


@pytest.mark.parametrize("keep", range(5, 100, 5))
def test_equal_judgement_of_truncation(keep: int) -> None:
    buffer = BytesIO()
    picture(120, 90).save(buffer, "JPEG", restart_marker_blocks=keep % 3 * 4)
    data = buffer.getvalue()
    both(data[: len(data) * keep // 100], params_for(120, 90, (0, 0, 1, 1), 1)._replace(flags=TOLERANT))


def test_it_is_the_faster_one() -> None:
    """Otherwise it would not be worth having; also says whether it took part at all."""
    buffer = BytesIO()
    picture(1600, 1200).save(buffer, "JPEG", quality=92)
    params = NativeParams(0, 0, 1600, 1200, 150, 150, 0, 0, 150, 150, min_ratio=1.0)
    best = [1 << 62, 1 << 62]
    for _ in range(7):
        for index, outcome in enumerate(both(buffer.getvalue(), params)):
            assert outcome.scale == 1
            best[index] = min(best[index], outcome.end_ns - outcome.start_ns)
    assert best[0] < best[1]
