from __future__ import annotations

import json
from dataclasses import replace

import onnx

from beyond_serve.zoo.card import RANDOM_WARNING, ModelCard, properties_of

CARD = ModelCard(
    architecture="tiny",
    library="transformers",
    library_version="5.0",
    weights="random",
    origin="seed 3",
    image_size=32,
    classes=5,
    parameters=1234,
    macs=1_500_000,
    opset=18,
    largest_difference=1e-6,
    difference_of_spread=1e-7,
    torch_version="2.13",
)


def test_random_weights_are_said_before_anything_else() -> None:
    content = json.loads(CARD.to_json())
    assert next(iter(content)) == "warning"
    assert content["warning"] == RANDOM_WARNING
    assert content["gmacs"] == 0.0015
    assert content["gflops"] == 0.003


def test_trained_weights_carry_no_warning() -> None:
    card = replace(CARD, weights="pretrained")
    assert "warning" not in json.loads(card.to_json())
    assert "beyond_serve.warning" not in card.properties()


def test_what_is_in_the_file_is_read_again() -> None:
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, {**CARD.properties(), "another tool's": "x"})
    read = properties_of(model)
    assert read["weights"] == "random"
    assert read["parameters"] == "1234"
    assert read["warning"] == RANDOM_WARNING
    assert "another tool's" not in read
    assert properties_of(onnx.ModelProto()) == {}
