from __future__ import annotations

import pytest

from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.server.oip.model_config import model_config, model_metadata
from tests.server.oip.fakes import FakeModel, engine_info

IMAGE = {"name": "image", "datatype": "BYTES", "shape": [-1]}


def test_metadata_lists_both_ways_in() -> None:
    assert model_metadata(FakeModel()) == {
        "name": "m",
        "versions": ["1"],
        "platform": "openvino",
        "inputs": [IMAGE, {"name": "pixels", "datatype": "FP32", "shape": [-1, 3, 2, 2]}],
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "features", "datatype": "INT64", "shape": [-1, 2]},
        ],
    }


def test_config_has_what_perf_analyzer_reads() -> None:
    config = model_config(FakeModel())
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("m", "openvino", 8)
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 500
    assert config["instance_group"] == [{"name": "m_0", "kind": "KIND_CPU", "count": 2, "gpus": []}]
    image, pixels = config["input"]
    assert (image["data_type"], image["dims"], image["reshape"]) == ("TYPE_STRING", [1], {"shape": []})
    assert (pixels["data_type"], pixels["dims"]) == ("TYPE_FP32", [3, 2, 2])
    assert image["optional"] is pixels["optional"] is True
    assert [(output["name"], output["dims"]) for output in config["output"]] == [
        ("scores", [3]),
        ("features", [2]),
    ]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"inputs": ()}, ["image"]),
        ({"image_shape": None}, ["pixels"]),
        ({"image_shape": None, "takes_encoded": True, "inputs": ()}, ["image"]),
    ],
)
def test_the_only_way_in_is_required(changes: dict[str, object], names: list[str]) -> None:
    model = FakeModel(engine_info(**changes))
    assert [entry["name"] for entry in model_metadata(model)["inputs"]] == names
    assert [(entry["name"], entry["optional"]) for entry in model_config(model)["input"]] == [
        (names[0], False)
    ]


def test_a_fixed_batch_is_the_largest_and_any_number_of_rows_may_be_sent() -> None:
    info = engine_info(fixed_batch=1, inputs=(TensorSpec("pixels", "FP32", (1, 3, 2, 2)),), device="cuda:1")
    assert model_config(FakeModel(info))["max_batch_size"] == 1
    assert model_config(FakeModel(info))["instance_group"][0]["gpus"] == [1]
    assert model_metadata(FakeModel(info))["inputs"][1]["shape"] == [-1, 3, 2, 2]


def test_of_several_gpus_the_count_is_on_each() -> None:
    info = engine_info(device="cuda:0,cuda:3")
    (group,) = model_config(FakeModel(info))["instance_group"]
    assert (group["kind"], group["count"], group["gpus"]) == ("KIND_GPU", 2, [0, 3])
    (group,) = model_config(FakeModel(engine_info(device="sim:0,sim:1")))["instance_group"]
    assert (group["kind"], group["count"], group["gpus"]) == ("KIND_CPU", 4, [])
