"""kernels.cu's normalisation, compiled for the CPU, against NumPy and the ONNX graph surgery."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.engines.cuda import kernels as kernels_module
from beyond_serve.engines.cuda.graphs import capture_replay
from beyond_serve.engines.cuda.kernels import NORMALISED
from beyond_serve.engines.graph import IMAGE_INPUT, with_image_input
from beyond_serve.engines.image_input import LUMA, ImageInput
from beyond_serve.engines.tensor_rows import DTYPES
from tests.engines.cuda.cpu_kernels import Device
from tests.engines.cuda.kernel_inputs import image_input, pixels


def expected(rows: np.ndarray, image: ImageInput) -> np.ndarray:
    """float32 after each step; float64 holds such a product plus a sum exactly, and so rounds it once."""
    values = rows.astype(np.float32)
    if image.reverse:
        values = values[..., ::-1]
    if image.channels == 1:
        red, green, blue = np.array(LUMA, np.float32).astype(np.float64)
        grey = values[..., :1] * np.float32(red)
        for channel, weight in ((1, green), (2, blue)):
            grey = (values[..., channel : channel + 1] * weight + grey).astype(np.float32)
        values = grey
    if image.gain is not None:
        values = values * image.gain - image.offset
    elif image.channels == 1:
        values = np.floor(values + np.float32(0.5))
    if image.layout == "NCHW":
        values = values.transpose(0, 3, 1, 2)
    with np.errstate(over="ignore"):  # beyond a half's range is infinity
        return values.astype(DTYPES[image.datatype])


WEIGHTS = st.tuples(*[st.floats(-1024, 1024, width=32) | st.floats(-(2**-20), 2**-20, width=32)] * 3)
IMAGES = st.builds(
    image_input,
    datatype=st.sampled_from(NORMALISED),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)) | st.sampled_from([(16, 16), (33, 40), (31, 43)]),
    channels=st.sampled_from([3, 1]),
    reverse=st.booleans(),
    gain=WEIGHTS,
    offset=WEIGHTS,
)


@given(image=IMAGES, count=st.integers(1, 3), seed=st.integers(0, 99), backwards=st.booleans())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_normalise_rounds_as_numpy_does(
    device: Device, image: ImageInput, count: int, seed: int, backwards: bool
) -> None:
    rows = pixels(count, image.size, seed)
    device.runtime.backwards = backwards
    got, want = device.normalise(rows, image), expected(rows, image)
    bits = f"u{want.itemsize}"
    np.testing.assert_array_equal(got.view(bits), want.view(bits))


@pytest.mark.parametrize("datatype", NORMALISED)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", ["rgb", "bgr", "grey"])
def test_normalise_equals_the_graph_surgery(device: Device, datatype: str, layout: str, kind: str) -> None:
    image = image_input(
        datatype, layout, (32, 20), channels=1 if kind == "grey" else 3, reverse=kind == "bgr"
    )
    rows = pixels(3, image.size, 5)
    got, want = device.normalise(rows, image), in_onnx(rows, image)
    if kind != "grey":
        np.testing.assert_array_equal(got, want)
    elif datatype == "UINT8":
        # Without fused multiply-add ONNX Runtime's product rounds twice, which moves a few ties.
        assert (got != want).mean() < 1e-3
        assert np.abs(got.astype(int) - want).max() <= 1
    else:
        np.testing.assert_allclose(got.astype(np.float64), want, rtol=2e-3 if datatype == "FP16" else 1e-5)


def in_onnx(rows: np.ndarray, image: ImageInput) -> np.ndarray:
    """What the surgery's nodes alone make."""
    import onnxruntime

    kind = {"FP32": 1, "UINT8": 2, "FP16": 10}[image.datatype]
    shape = ["N", *image.row_shape]
    inputs = [onnx.helper.make_tensor_value_info("pixels", kind, shape)]
    outputs = [onnx.helper.make_tensor_value_info("out", kind, shape)]
    node = onnx.helper.make_node("Identity", ["pixels"], ["out"])
    proto = onnx.helper.make_model(
        onnx.helper.make_graph([node], "net", inputs, outputs),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(with_image_input(proto, image).SerializeToString())
    return session.run(None, {IMAGE_INPUT: rows})[0]


def test_every_colour_has_its_grey(device: Device) -> None:
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    rows = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, 64, 64, 3)
    image = image_input("UINT8", size=(64, 64), channels=1)
    np.testing.assert_array_equal(device.normalise(rows, image), expected(rows, image))


def test_more_images_than_the_grid_has_rows(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_module, "_GRID_LIMIT", 2)
    for image in (image_input(), image_input(layout="NHWC"), image_input(channels=1)):
        rows = pixels(5, image.size, 1)
        np.testing.assert_array_equal(device.normalise(rows, image), expected(rows, image))
        assert device.runtime.launched[-1][2] == ((1, 2, 1))


def test_recorded_kernels_read_what_is_there_when_replayed(library: ctypes.CDLL) -> None:
    device = Device(library)
    image = image_input()
    first, second = pixels(2, image.size, 1), pixels(2, image.size, 2)
    shape = (2, *image.row_shape)
    source, target = device.put(first), device.room(int(np.prod(shape)) * 4)
    before = list(device.runtime.calls)
    replay = capture_replay(
        device.runtime,
        device.stream,
        lambda: device.kernels.normalise(
            source=source, target=target, rows=2, image=image, stream=device.stream
        ),
    )
    assert device.runtime.calls == [*before, "begin_capture", "end_capture"]
    device.runtime.view(source, np.uint8, second.shape)[...] = second
    replay()
    np.testing.assert_array_equal(device.take(target, np.float32, shape), expected(second, image))


def test_sizes_differ_between_launches(device: Device) -> None:
    for size in ((224, 224), (7, 5), (224, 224)):
        image = replace(image_input("FP16"), size=size)
        rows = pixels(2, size, 3)
        np.testing.assert_array_equal(device.normalise(rows, image), expected(rows, image))
