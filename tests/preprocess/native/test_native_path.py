"""The native core and the library decoders behind one seam: same pixels and refusals, and who serves what."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from beyond_serve.errors import ImageDecodeError
from beyond_serve.preprocess.capabilities import Decoder
from beyond_serve.preprocess.geometry import Geometry, geometry
from beyond_serve.preprocess.header import ImageHeader, read_header
from beyond_serve.preprocess.host import LibraryJpegPath
from beyond_serve.preprocess.image_path import Made
from beyond_serve.preprocess.native import available
from beyond_serve.preprocess.native_path import NativePath
from beyond_serve.preprocess.plan import Interpolation, PreprocessPlan, Resize
from tests.preprocess.native.jpegs import encode, picture

pytestmark = pytest.mark.skipif(not available(), reason="the native core is not built here")

PLAN = PreprocessPlan(size=(64, 64), crop=(56, 56), interpolation=Interpolation.BICUBIC)
SQUASH = PreprocessPlan(Resize.EXACT, (40, 50), None)


ELSEWHERE = Made(7, Decoder.PILLOW, 1)


class Elsewhere:
    """Stands for the library decoders: remembers that it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, data: bytes, header: ImageHeader, shape: Geometry, out: np.ndarray) -> Made:
        self.asked += 1
        return ELSEWHERE


def native(plan: PreprocessPlan, otherwise: Elsewhere) -> NativePath:
    return NativePath(plan.interpolation, "exact", tolerate_corrupt=False, otherwise=otherwise)


@pytest.mark.parametrize("plan", [PLAN, SQUASH])
@pytest.mark.parametrize("size", [(200, 150), (150, 200), (90, 300), (301, 64)])
@pytest.mark.parametrize("orientation", [1, 6, 3])
def test_equals_the_libraries(plan: PreprocessPlan, size: tuple[int, int], orientation: int) -> None:
    data = encode(picture(*size))
    header = read_header(data)
    shape = geometry(plan, *size, orientation)
    ours, theirs = np.empty(plan.output_shape, np.uint8), np.empty(plan.output_shape, np.uint8)
    library = LibraryJpegPath(plan.interpolation, "exact", False)
    NativePath(plan.interpolation, "exact", False, library)(data, header, shape, ours)
    library(data, header, shape, theirs)
    np.testing.assert_array_equal(ours, theirs)


def test_border_lies_within_the_call() -> None:
    data = encode(picture(200, 150))
    out = np.empty(PLAN.output_shape, np.uint8)
    before = time.monotonic_ns()
    made = native(PLAN, Elsewhere())(data, read_header(data), geometry(PLAN, 200, 150), out)
    assert (made.decoder, made.scale) == (Decoder.NATIVE, 1)
    assert before <= made.decoded_ns <= time.monotonic_ns()


def test_nearest_goes_elsewhere() -> None:
    plan = PreprocessPlan(size=(64, 64), crop=(56, 56), interpolation=Interpolation.NEAREST)
    data, elsewhere = encode(picture(200, 150)), Elsewhere()
    made = native(plan, elsewhere)(
        data, read_header(data), geometry(plan, 200, 150), np.empty(plan.output_shape, np.uint8)
    )
    assert (made, elsewhere.asked) == (ELSEWHERE, 1)


@pytest.mark.parametrize("edge", [30, 55])
def test_padded_output_goes_elsewhere(edge: int) -> None:
    """Also where the one missing row and column lie at the far end."""
    plan = PreprocessPlan(size=(edge, edge), crop=(56, 56))
    data, elsewhere = encode(picture(60, 60)), Elsewhere()
    native(plan, elsewhere)(
        data, read_header(data), geometry(plan, 60, 60), np.empty(plan.output_shape, np.uint8)
    )
    assert elsewhere.asked == 1


def test_four_components_go_elsewhere() -> None:
    data, elsewhere = encode(Image.new("CMYK", (200, 150))), Elsewhere()
    out = np.empty(PLAN.output_shape, np.uint8)
    native(PLAN, elsewhere)(data, read_header(data), geometry(PLAN, 200, 150), out)
    assert elsewhere.asked == 1


def test_damage_goes_nowhere_else() -> None:
    data, elsewhere = encode(picture(200, 150)), Elsewhere()
    out = np.empty(PLAN.output_shape, np.uint8)
    with pytest.raises(ImageDecodeError):
        native(PLAN, elsewhere)(data[:900], read_header(data), geometry(PLAN, 200, 150), out)
    assert elsewhere.asked == 0
