"""kernels.cu itself, compiled for the CPU, against NumPy, the ONNX graph surgery and `classify`."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.engines.classify import classify
from beyond_serve.engines.cuda import kernels as kernels_module
from beyond_serve.engines.cuda.graphs import capture_replay
from beyond_serve.engines.cuda.kernels import NAMES, NORMALISED, RANKED, RANKS, Kernels, rank_threads
from beyond_serve.engines.graph import IMAGE_INPUT, with_image_input
from beyond_serve.engines.image_input import LUMA, ImageInput
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.engines.tensor_rows import DTYPES
from tests.engines.cuda.cpu_kernels import COMPILER, CpuKernelRuntime, build

GUARD = 64
"""Bytes behind each output that must stay as they were."""


class Device:
    """Runs kernels on arrays."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.runtime = CpuKernelRuntime(library)
        self.kernels = Kernels(self.runtime, lambda source, capability: b"")
        self.stream = self.runtime.create_stream()

    def put(self, array: np.ndarray) -> int:
        address = self.runtime.allocate(array.nbytes)
        self.runtime.view(address, array.dtype, array.shape)[...] = array
        return address

    def room(self, nbytes: int) -> int:
        address = self.runtime.allocate(nbytes + GUARD)
        self.runtime.view(address + nbytes, np.uint8, [GUARD])[...] = 0xEE
        return address

    def take(self, address: int, dtype: np.typing.DTypeLike, shape: tuple[int, ...]) -> np.ndarray:
        self.runtime.synchronize(self.stream)
        array = self.runtime.view(address, dtype, shape).copy()
        assert (self.runtime.view(address + array.nbytes, np.uint8, [GUARD]) == 0xEE).all()
        return array

    def normalise(self, rows: np.ndarray, image: ImageInput) -> np.ndarray:
        shape, dtype = (len(rows), *image.row_shape), DTYPES[image.datatype]
        source, target = self.put(rows), self.room(int(np.prod(shape)) * dtype.itemsize)
        self.kernels.normalise(source=source, target=target, rows=len(rows), image=image, stream=self.stream)
        result = self.take(target, dtype, shape)
        self.runtime.free(source), self.runtime.free(target)
        return result

    def rank(
        self, scores: np.ndarray, k: int, *, datatype: str, probabilities: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, classes = scores.shape
        addresses = self.put(scores), self.room(rows * k * 4), self.room(rows * k * 4)
        self.kernels.rank(
            scores=addresses[0],
            datatype=datatype,
            rows=rows,
            classes=classes,
            k=k,
            probabilities=probabilities,
            top_scores=addresses[1],
            top_indices=addresses[2],
            stream=self.stream,
        )
        result = self.take(addresses[1], np.float32, (rows, k)), self.take(addresses[2], np.int32, (rows, k))
        for address in addresses:
            self.runtime.free(address)
        return result


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    return build(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def device(library: ctypes.CDLL) -> Device:
    return Device(library)


# -- normalise -----------------------------------------------------------------------------------------


def image_input(
    datatype: str = "FP32",
    layout: str = "NCHW",
    size: tuple[int, int] = (4, 6),
    channels: int = 3,
    *,
    reverse: bool = False,
    gain: tuple[float, ...] = (0.017, 0.0175, 0.0174),
    offset: tuple[float, ...] = (2.1, 2.03, 1.8),
) -> ImageInput:
    weights = [np.array(values[:channels], np.float32) for values in (gain, offset)]
    return ImageInput(
        "pixels", datatype, layout, size, channels, reverse, *([None] * 2 if datatype == "UINT8" else weights)
    )


def pixels(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


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


# -- rank ----------------------------------------------------------------------------------------------


def scores_of(kind: str, rows: int, classes: int, datatype: str, seed: int) -> np.ndarray:
    """float32 [rows, classes] that `datatype` holds exactly."""
    rng = np.random.default_rng(seed)
    if kind == "tied":
        scores = rng.integers(-2, 3, (rows, classes)).astype(np.float32)
        scores[scores == 0] *= rng.choice([-1, 1], (scores == 0).sum())
    else:
        scores = (4 * rng.standard_normal((rows, classes))).astype(np.float32)
    if kind == "ruled out":
        scores[rng.random((rows, classes)) < 0.7] = -np.inf
    if kind == "bad":
        specials = np.array([np.nan, -np.nan, np.inf, -np.inf], np.float32)
        for row in range(0, rows, 2):
            scores[row, rng.integers(classes)] = rng.choice(specials)
        scores[-1] = -np.inf
    return values_of(stored(scores, datatype), datatype)


def stored(scores: np.ndarray, datatype: str) -> np.ndarray:
    if datatype == "BF16":
        return (scores.view(np.uint32) >> 16).astype(np.uint16)
    return scores.astype(DTYPES[datatype])


def values_of(array: np.ndarray, datatype: str) -> np.ndarray:
    if datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def classified(scores: np.ndarray, k: int, *, probabilities: bool) -> tuple[np.ndarray, np.ndarray]:
    info = EngineInfo("x", "fp32", "cpu", (), (), scores="y", scores_are_probabilities=probabilities)
    result = classify({"y": scores}, info, k)
    assert result.top_scores is not None
    assert result.top_indices is not None
    return result.top_scores, result.top_indices


def assert_ranked(device: Device, scores: np.ndarray, k: int, datatype: str, *, probabilities: bool) -> None:
    want, want_indices = classified(scores, k, probabilities=probabilities)
    got, indices = device.rank(stored(scores, datatype), k, datatype=datatype, probabilities=probabilities)
    np.testing.assert_array_equal(indices, want_indices)
    if probabilities:
        np.testing.assert_array_equal(got, want)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-37)


CLASSES = st.integers(1, 70) | st.sampled_from([255, 256, 257, 1000, 1001, 4999, 5000])


@given(
    kind=st.sampled_from(["plain", "tied", "ruled out", "bad"]),
    rows=st.integers(1, 3),
    classes=CLASSES,
    k=st.integers(1, RANKS),
    datatype=st.sampled_from(RANKED),
    probabilities=st.booleans(),
    seed=st.integers(0, 99),
    backwards=st.booleans(),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_rank_is_classify(
    device: Device, kind: str, rows: int, classes: int, k: int, datatype: str, probabilities: bool,
    seed: int, backwards: bool,
) -> None:  # fmt: skip
    device.runtime.backwards = backwards
    scores = scores_of(kind, rows, classes, datatype, seed)
    assert_ranked(device, scores, min(k, classes), datatype, probabilities=probabilities)


@pytest.mark.parametrize("place", [0, 1, 31, 32, 255, 256, 999])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
def test_one_bad_score_anywhere_is_seen(device: Device, place: int, bad: float) -> None:
    scores = scores_of("plain", 3, 1000, "FP32", 3)
    scores[1, place] = bad
    top, indices = device.rank(scores, 3, datatype="FP32", probabilities=False)
    assert np.isnan(top[1]).all()
    assert np.isfinite(top[[0, 2]]).all()
    np.testing.assert_array_equal(indices[1], [0, 1, 2])


@pytest.mark.parametrize("datatype", RANKED)
def test_a_single_logit_is_a_sigmoid(device: Device, datatype: str) -> None:
    scores = np.array([[0.0], [2.0], [-2.0], [-90.0], [90.0], [-np.inf]], np.float32)
    assert_ranked(device, scores, 1, datatype, probabilities=False)
    assert_ranked(device, scores, 1, datatype, probabilities=True)


def test_a_million_classes(device: Device) -> None:
    scores = scores_of("plain", 1, 1_000_000, "FP16", 1)
    assert_ranked(device, scores, RANKS, "FP16", probabilities=False)
    assert device.runtime.launched[-1][3] == (1024, 1, 1)


def test_blocks_are_whole_warps() -> None:
    sizes = [rank_threads(classes) for classes in (1, 32, 33, 1000, 16384, 16385, 1_000_000)]
    assert sizes == [32, 32, 64, 256, 256, 1024, 1024]


@pytest.mark.parametrize(("k", "classes"), [(0, 10), (RANKS + 1, 100), (4, 3)])
def test_more_ranks_than_there_are_is_refused(device: Device, k: int, classes: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}"):
        device.rank(np.zeros((1, classes), np.float32), k, datatype="FP32", probabilities=False)


# -- both ----------------------------------------------------------------------------------------------


def test_arguments_are_those_of_the_kernels(library: ctypes.CDLL) -> None:
    device = Device(library)
    for datatype in NORMALISED:
        for image in (
            image_input(datatype),
            image_input(datatype, "NHWC"),
            image_input(datatype, channels=1),
        ):
            device.normalise(pixels(1, image.size, 0), image)
    for datatype in RANKED:
        device.rank(stored(np.zeros((1, 3), np.float32), datatype), 2, datatype=datatype, probabilities=False)
    assert {name for name, *_ in device.runtime.launched} == set(NAMES)
    for name, letters, *_ in device.runtime.launched:
        assert library.signature(name.encode()).decode() == letters


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
