"""Which source pixels a plan makes its output of: the whole image, regions of it, scaled decodes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.errors import InvalidRequestError
from beyond_serve.preprocess.geometry import REGION_STEP, Region, geometry
from beyond_serve.preprocess.orientation import stored_box, upright_box, upright_size
from beyond_serve.preprocess.plan import CropRounding, PreprocessPlan, Resize

PLAN = PreprocessPlan()
edges = st.integers(1, 5000)


def test_the_medium_image_s_region() -> None:
    shape = geometry(PLAN, 500, 375)
    assert shape.start == (58, 16)  # round(117 / 2) half to even
    assert shape.upright_box == pytest.approx((85.044, 23.4375, 413.490, 351.5625), abs=1e-3)
    assert shape.upright_size == (224, 224)


@pytest.mark.parametrize(
    ("width", "half_even", "floor"), [(224, 0, 0), (225, 0, 0), (227, 2, 1), (229, 2, 2)]
)
def test_both_roundings_of_an_odd_cut(width: int, half_even: int, floor: int) -> None:
    for rounding, left in ((CropRounding.HALF_EVEN, half_even), (CropRounding.FLOOR, floor)):
        plan = PreprocessPlan(Resize.NONE, crop=(224, 224), crop_rounding=rounding)
        assert geometry(plan, width, 300).start[0] == left


def test_an_image_smaller_than_the_crop_is_padded_with_the_odd_pixel_at_the_far_end() -> None:
    plan = PreprocessPlan(Resize.NONE, crop=(8, 8))
    shape = geometry(plan, 5, 20)
    assert (shape.place, shape.upright_size, shape.start) == ((1, 0), (5, 8), (0, 6))


def test_exact_ignores_the_aspect_ratio() -> None:
    plan = PreprocessPlan(Resize.EXACT, (100, 200), None)
    assert plan.output_shape == (100, 200, 3)
    assert geometry(plan, 7, 9000).upright_box == (0, 0, 7, 9000)


def test_resized_axes_swap_with_the_orientation() -> None:
    assert geometry(PLAN, 375, 500, 6).resized == geometry(PLAN, 500, 375, 1).resized
    assert geometry(PLAN, 375, 500, 6).size == (224, 224)


@given(edges, edges, st.integers(1, 8), st.sampled_from(list(Resize)), st.sampled_from(list(CropRounding)))
def test_the_region_lies_in_the_image_and_fills_its_place(
    width: int, height: int, orientation: int, resize: Resize, rounding: CropRounding
) -> None:
    plan = PreprocessPlan(resize, (64, 64), (50, 40), crop_rounding=rounding)
    shape = geometry(plan, width, height, orientation)
    left, top, right, bottom = shape.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    columns, rows = shape.upright_size
    assert 1 <= columns <= 40
    assert 1 <= rows <= 50
    assert shape.place[0] + columns <= 40
    assert shape.place[1] + rows <= 50
    # Nothing is stretched: the region has the scale of the whole.
    wide, _ = upright_size(width, height, orientation)
    assert (shape.upright_box[2] - shape.upright_box[0]) / columns == pytest.approx(wide / shape.resized[0])


@given(edges, edges, st.integers(1, 8), st.sampled_from([2, 4, 8]))
def test_a_reduced_geometry_covers_the_same_stored_region(
    width: int, height: int, orientation: int, denominator: int
) -> None:
    shape = geometry(PLAN, width, height, orientation)
    reduced = shape.reduced(denominator)
    assert reduced.stored == (-(-width // denominator), -(-height // denominator))
    assert [edge * denominator for edge in reduced.box] == pytest.approx(list(shape.box), abs=1e-6)


@given(edges, edges, st.integers(1, 8))
def test_upright_box_undoes_stored_box(width: int, height: int, orientation: int) -> None:
    wide, high = upright_size(width, height, orientation)
    box = (0.25 * wide, 0.5 * high, 0.75 * wide, 0.875 * high)
    back = upright_box(stored_box(box, wide, high, orientation), width, height, orientation)
    assert back == pytest.approx(box)


@given(edges, edges, st.integers(1, 8), st.sampled_from(list(Resize)))
def test_the_whole_image_as_a_region_changes_nothing(
    width: int, height: int, orientation: int, resize: Resize
) -> None:
    plan = PreprocessPlan(resize, (64, 64), (50, 40))
    whole = Region(0, 0, *upright_size(width, height, orientation))
    assert geometry(plan, width, height, orientation, whole) == geometry(plan, width, height, orientation)


def test_a_region_takes_the_image_s_place() -> None:
    shape = geometry(PLAN, 640, 480, region=Region(100, 50, 300, 150))
    assert shape.region == (100, 50, 300, 150)
    assert shape.resized == (512, 256)  # the region's short edge, not the image's
    assert shape.upright_box == (100 + 56.25, 50 + 6.25, 300 - 56.25, 150 - 6.25)


def test_a_region_is_given_upright() -> None:
    """Stored on its side, 480 wide: the region's left 100 columns are the stored bottom rows' … by EXIF 6."""
    shape = geometry(PLAN, 480, 640, 8, Region(0, 0, 100, 480))
    assert shape.region == (0, 0, 100, 480)
    stored = stored_box(shape.region, 640, 480, 8)
    assert stored == (0, 0, 480, 100)


@given(
    st.integers(8, 5000), st.integers(8, 5000), st.integers(1, 8),
    st.lists(st.floats(0, 1), min_size=4, max_size=4), st.sampled_from([1, 2, 4, 8]),
)  # fmt: skip
def test_what_is_read_lies_inside_the_region(
    width: int, height: int, orientation: int, at: list[float], denominator: int
) -> None:
    wide, high = upright_size(width, height, orientation)
    left, right = sorted((at[0] * (wide - 1), at[1] * (wide - 1)))
    top, bottom = sorted((at[2] * (high - 1), at[3] * (high - 1)))
    region = Region(left, top, right + 1, bottom + 1)
    shape = geometry(PLAN, width, height, orientation, region)
    for inner, outer in ((shape.upright_box, shape.region), (shape.region, (0, 0, wide, high))):
        assert outer[0] <= inner[0] < inner[2] <= outer[2]
        assert outer[1] <= inner[1] < inner[3] <= outer[3]
    assert all(
        abs(edge - given) <= REGION_STEP / 2 for edge, given in zip(shape.region, region.edges, strict=True)
    )
    assert all((edge / REGION_STEP).is_integer() for edge in shape.region)
    reduced = shape.reduced(denominator)
    again = [
        edge * denominator
        for edge in stored_box(reduced.region, *upright_size(*reduced.stored, orientation), orientation)
    ]
    assert again == pytest.approx(stored_box(shape.region, wide, high, orientation), abs=1e-6)


def test_without_resizing_a_region_s_edges_are_whole() -> None:
    plan = PreprocessPlan(Resize.NONE, crop=(8, 8))
    assert geometry(plan, 100, 100, region=Region(10.4, 9.6, 30.5, 31.5)).region == (10, 10, 30, 32)


@pytest.mark.parametrize("edges", [(3, 3, 3, 9), (3, 3, 9, 3), (9, 3, 3, 9), (3, 9, 9, 3)])
def test_an_empty_region(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(InvalidRequestError, match="is empty") as raised:
        Region(*edges)
    assert raised.value.hint == "right must be greater than left, and bottom than top"


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_region_with_an_edge_that_is_no_number(at: int, value: float) -> None:
    with pytest.raises(InvalidRequestError, match="no finite number"):
        Region(*[value if i == at else i for i in range(4)])


@pytest.mark.parametrize(
    "edges",
    [(-1, 0, 9, 9), (0, -0.01, 9, 9), (0, 0, 61, 9), (0, 0, 9, 40.001), (70, 0, 80, 9), (1e300, 0, 1e301, 9)],
)
def test_a_region_outside_the_image(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(
        InvalidRequestError, match="not lie inside the image, which is 60x40 upright"
    ) as raised:
        geometry(PLAN, 40, 60, 6, Region(*edges))
    assert raised.value.hint == "cut the region to the image"


@pytest.mark.parametrize(("resize", "step"), [(Resize.SHORTEST_EDGE, "0.0039"), (Resize.NONE, "1 ")])
def test_a_region_that_rounds_to_nothing(resize: Resize, step: str) -> None:
    plan = PreprocessPlan(resize, crop=(8, 8))
    with pytest.raises(InvalidRequestError, match=f"smaller than {step}"):
        geometry(plan, 60, 40, region=Region(3, 3, 3.001, 9))
