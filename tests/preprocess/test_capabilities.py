"""The table of formats and features says what the code does."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.errors import ConfigError, ImageDecodeError
from beyond_serve.preprocess import native
from beyond_serve.preprocess.capabilities import (
    FORMATS,
    SUPPORT,
    Decoder,
    Feature,
    decoders_of,
    support,
    usable,
)
from beyond_serve.preprocess.decoders import decode_image, decode_jpeg
from beyond_serve.preprocess.geometry import geometry
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.native_plan import native_params
from beyond_serve.preprocess.plan import PreprocessPlan
from tests.preprocess.images import encode, photograph

TABLE_5 = {
    ("jpeg", Feature.REGION), ("png", Feature.EARLY_STOP), ("webp", Feature.EARLY_STOP),
    ("heic/hevc", Feature.REDUCED_FIDELITY), ("h.264", Feature.REDUCED_FIDELITY),
    ("vp8", Feature.REDUCED_FIDELITY), ("vp9", Feature.REDUCED_FIDELITY),
    ("jpeg 2000", Feature.MULTI_RESOLUTION),
}  # fmt: skip


def test_the_papers_table_is_in_it() -> None:
    assert {(one.format, one.feature) for one in SUPPORT if one.in_paper} == TABLE_5


def test_entries_are_of_known_formats_once_each_and_by_their_decoders() -> None:
    keys = [(one.format, one.feature) for one in SUPPORT]
    assert len(set(keys)) == len(keys)
    whole = {known.name: set(known.decoders) for known in FORMATS}
    assert all(set(one.by) <= whole[one.format] for one in SUPPORT)


@pytest.mark.parametrize("known", [known.name for known in FORMATS if known.decoders])
def test_served_formats_are_decoded_by_pillow(known: str) -> None:
    data = encode(photograph(16, 12), known.upper())
    header = read_header(data)
    assert header.format == known
    assert decode_image(data, header).size == (16, 12)
    assert Decoder.PILLOW in decoders_of(known)


def test_formats_that_nothing_decodes_have_nothing_usable() -> None:
    for known in FORMATS:
        if not known.decoders:
            assert not any(usable(known.name, feature) for feature in Feature)


def test_unknown_format() -> None:
    with pytest.raises(ConfigError, match="tiff"):
        decoders_of("tiff")


def test_absent_feature() -> None:
    assert support("bmp", Feature.DCT_SCALING) is None
    assert usable("bmp", Feature.DCT_SCALING) == ()


def test_without_the_native_core_only_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_native", None)
    assert usable("jpeg", Feature.REGION) == ()
    assert usable("jpeg", Feature.DCT_SCALING) == (Decoder.SIMPLEJPEG,)
    assert decoders_of("jpeg") == (Decoder.SIMPLEJPEG, Decoder.PILLOW)


def test_simplejpeg_scales() -> None:
    data = encode(photograph(160, 80), "JPEG")
    assert decode_jpeg(data, read_header(data), denominator=8).shape == (10, 20, 3)


@pytest.mark.skipif(not native.available(), reason="the native core is not built here")
def test_the_native_core_scales_and_stops_early() -> None:
    data = encode(photograph(640, 640), "JPEG")
    plan = PreprocessPlan(size=(64, 64), crop=(56, 56))
    params = native_params(geometry(plan, 640, 640), plan.interpolation, "fast")
    assert params is not None
    out = np.empty(plan.output_shape, np.uint8)
    assert native.decode(data, params, out).scale < 8
    top = params._replace(top=0, height=8)
    native.decode(data[: len(data) // 2], top, np.empty((8, 56, 3), np.uint8))


@pytest.mark.skipif(not native.available(), reason="the native core is not built here")
@pytest.mark.parametrize(("known", "options"), [("png", {}), ("webp", {}), ("webp", {"lossless": True})])
def test_the_native_core_stops_early_where_rows_come_in_order(known: str, options: dict[str, bool]) -> None:
    assert usable(known, Feature.EARLY_STOP) == (Decoder.NATIVE,)
    data = encode(photograph(160, 640), known.upper(), **options)
    top = native.NativeParams(0, 0, 160, 64, 160, 64, 0, 0, 160, 64)
    native.decode(data[: len(data) // 2], top, np.empty((64, 160, 3), np.uint8))
    with pytest.raises(ImageDecodeError, match="truncated"):
        native.decode(data[: len(data) // 2], top._replace(y0=570, y1=634), np.empty((64, 160, 3), np.uint8))
