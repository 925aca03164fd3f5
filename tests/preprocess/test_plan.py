from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.geometry import geometry
from beyond_serve.preprocess.orientation import stored_box, upright_box, upright_size
from beyond_serve.preprocess.plan import CropRounding, Interpolation, Normalization, PreprocessPlan, Resize

PLAN = PreprocessPlan()
edges = st.integers(1, 5000)


def test_the_default_is_torchvision_s_imagenet_evaluation() -> None:
    assert PLAN.output_shape == (224, 224, 3)
    assert PLAN.describe() == "short edge to 256 (bilinear), centre crop 224x224"
    assert geometry(PLAN, 500, 375).resized == (341, 256)  # int(256 * 500 / 375)


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


def test_cover_keeps_the_aspect_ratio_and_covers() -> None:
    plan = PreprocessPlan(Resize.COVER, (100, 200), (100, 200))
    assert plan.resized_size(400, 400) == (200, 200)
    assert plan.resized_size(1000, 100) == (1000, 100)


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


@pytest.mark.parametrize(
    "make",
    [
        lambda: PreprocessPlan(crop=None),
        lambda: PreprocessPlan(size=(0, 256)),
        lambda: PreprocessPlan(crop=(224, -1)),
        lambda: Normalization(mean=(0.5,)),
        lambda: Normalization(std=(1.0, 0.0, 1.0)),
    ],
)
def test_impossible_plans(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError):
        make()


def test_interpolations_are_pillow_s() -> None:
    assert set(Interpolation) == {"nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"}
