"""The conversion of images inside the graph, on both engines, against NumPy and the model's own tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.image_input import image_input
from beyond_serve.engines.load import EngineConfig, load_engine
from beyond_serve.errors import ModelLoadError
from beyond_serve.preprocess.plan import Normalization
from tests.engines.batches import image_batch, infer, tensor_batch
from tests.engines.models import Net, images, normalised, write

CAFFE = Normalization(scale=1.0, mean=(103.5, 116.3, 123.7), std=(57.4, 57.1, 58.4), channel_order="BGR")
PLAIN = Normalization(scale=1 / 255, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
ENGINES = ("openvino", "onnxruntime")
NETS = {
    "nchw": Net(),
    "nhwc": Net(layout="NHWC"),
    "half": Net(datatype="FP16"),
    "half nhwc": Net(datatype="FP16", layout="NHWC"),
    "bytes": Net(datatype="UINT8"),
    "bytes nhwc": Net(datatype="UINT8", layout="NHWC"),
    "grey": Net(channels=1),
    "grey nhwc": Net(channels=1, layout="NHWC"),
    "grey bytes": Net(channels=1, datatype="UINT8"),
    "free size": Net(size=None),
    "old opset": Net(opset=9),
}


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("normalization", [Normalization(), CAFFE, PLAIN], ids=["imagenet", "caffe", "plain"])
def test_images_give_what_normalised_tensors_give(
    tmp_path: Path, engine_name: str, name: str, normalization: Normalization
) -> None:
    net = NETS[name]
    source = write(tmp_path / "net.onnx", net)
    engine = load_engine(
        EngineConfig(
            source,
            engine=engine_name,
            precision="auto" if engine_name == "onnxruntime" else "fp32",
            image_size=(12, 16),
            max_batch=2,
            normalization=normalization,
        )
    )
    engine.prepare_tensors()
    context = engine.create_context()
    rows = images(3)
    by_image = infer(context, image_batch(rows))["logits"]
    by_tensor = infer(context, tensor_batch(normalised(rows, net, normalization)))["logits"]
    spread = float(np.abs(by_tensor.astype(np.float64)).max())
    tolerance = 5e-3 if net.datatype == "FP16" else 1e-5
    np.testing.assert_allclose(by_image, by_tensor, rtol=0, atol=tolerance * spread)
    assert by_image.dtype == (np.float16 if net.datatype == "FP16" else np.float32)
    assert np.ptp(by_image[:, 0].astype(np.float64)) > 1e-4 * spread


@pytest.mark.parametrize("engine_name", ENGINES)
def test_both_engines_agree_on_one_model(tmp_path: Path, engine_name: str) -> None:
    source = write(tmp_path / "net.onnx")
    rows = images(2)
    outputs = [
        infer(
            load_engine(EngineConfig(source, engine=name, precision="fp32")).create_context(),
            image_batch(rows),
        )
        for name in (engine_name, "onnxruntime")
    ]
    np.testing.assert_allclose(outputs[0]["logits"], outputs[1]["logits"], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_free_size_takes_tensors_of_several_sizes(tmp_path: Path, engine_name: str) -> None:
    source = write(tmp_path / "net.onnx", Net(size=None))
    engine = load_engine(EngineConfig(source, engine=engine_name, image_size=(8, 8), precision="auto"))
    assert engine.info.image_shape == (8, 8, 3)
    assert engine.info.inputs[0].shape == (-1, 3, -1, -1)
    engine.prepare_tensors()
    context = engine.create_context()
    for size in ((8, 8), (20, 10)):
        rows = normalised(images(2, size), Net(), PLAIN)
        assert infer(context, tensor_batch(rows))["logits"].shape == (2, 5)


def test_without_any_size_a_free_model_gets_224(tmp_path: Path) -> None:
    description = describe_model(write(tmp_path / "net.onnx", Net(size=None)))
    assert description.image_size is None
    assert image_input(description, None, None)[0].host_shape == (224, 224, 3)


def test_a_plan_of_another_size_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "net.onnx")
    with pytest.raises(
        ModelLoadError, match=r"makes 224x224 images; the input 'pixels' is \[-1, 3, 12, 16\]"
    ):
        load_engine(EngineConfig(source, image_size=(224, 224)))


def test_without_normalisation_values_stay(tmp_path: Path) -> None:
    image, warnings = image_input(describe_model(write(tmp_path / "net.onnx")), None, None)
    np.testing.assert_array_equal(image.gain, [1, 1, 1])
    np.testing.assert_array_equal(image.offset, [0, 0, 0])
    assert warnings == ()


def test_grey_models_are_told_of_the_average(tmp_path: Path) -> None:
    description = describe_model(write(tmp_path / "net.onnx", Net(channels=1)))
    assert image_input(description, PLAIN, None)[1] == ()
    image, warnings = image_input(description, Normalization(), None)
    assert "average" in warnings[0]
    mean, std = np.mean(Normalization().mean), np.mean(Normalization().std)
    np.testing.assert_allclose([image.gain[0], image.offset[0]], [1 / 255 / std, mean / std], rtol=1e-6)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_read_only_and_strided_rows_are_read_right(tmp_path: Path, engine_name: str) -> None:
    context = load_engine(EngineConfig(write(tmp_path / "net.onnx"), engine=engine_name)).create_context()
    rows = images(4)
    expected = infer(context, image_batch(rows))["logits"]
    frozen = rows.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(infer(context, image_batch(frozen))["logits"], expected)
    apart = np.repeat(rows, 2, axis=0)[::2]
    np.testing.assert_array_equal(infer(context, image_batch(apart))["logits"], expected)
    backwards = infer(context, image_batch(rows[::-1]))["logits"]
    np.testing.assert_allclose(backwards[::-1], expected, rtol=1e-5, atol=1e-5)
