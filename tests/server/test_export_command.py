from __future__ import annotations

import sys
from pathlib import Path

import pytest

from beyond_serve.server import export_command
from beyond_serve.server.models_command import main
from beyond_serve.zoo.catalogue import ARCHITECTURES
from beyond_serve.zoo.export import ExportRequest
from tests.zoo.extra import TINY_VIT, needs_transformers
from tests.zoo.test_card import CARD


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


def test_the_list_names_all_with_their_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ARCHITECTURES)
    assert "4.09" in said
    assert "25.56 M" in said


@pytest.mark.parametrize(
    ("arguments", "complaint", "advice"),
    [
        (["resnet51"], "no architecture is called 'resnet51'", "did you mean resnet-50"),
        ([], "no architecture is named", "--list"),
        (["vit-tiny", "-o", "vit.pt"], "'vit.pt' does not end in .onnx", "ending"),
        (["vit-tiny", "--image-size", "0"], "--image-size 0: must lie between", None),
        (["vit-tiny", "--opset", "7"], "--opset 7: must lie between 18 and", None),
        (["vit-tiny", "--seed", "-1"], "--seed -1: must lie between", None),
        (["--checkpoint", "nowhere"], "--checkpoint nowhere: is no folder", "config.json"),
        (["--checkpoint", ".", "--weights", "random", "-o", "a.onnx"], "takes no --checkpoint", "leave one"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    arguments: list[str], complaint: str, advice: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *arguments]) == 1
    first, _, rest = capsys.readouterr().err.partition("\n")
    assert first.startswith("beyond-models: ")
    assert complaint in first
    assert (advice or "") in rest


def test_weights_of_another_kind_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["export", "vit-tiny", "--weights", "good"])
    assert caught.value.code == 2
    assert "--weights" in capsys.readouterr().err


@pytest.mark.usefixtures("without_torch")
def test_missing_torch_says_what_to_install(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["export", "vit-tiny", "-o", str(tmp_path / "m.onnx")]) == 1
    said = capsys.readouterr().err
    assert "exporting needs torch" in said
    assert "pip install 'beyond-serve[export]'" in said


def test_what_was_done_is_reported_with_the_warning_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def written(request: ExportRequest, say: object) -> object:
        request.output.write_bytes(bytes(2_000_000))
        return CARD

    monkeypatch.setattr(export_command, "export", written)
    monkeypatch.chdir(tmp_path)
    assert main(["export", "vit-tiny"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("WARNING: RANDOM WEIGHTS")
    assert "wrote vit-tiny.onnx (2.0 MB), vit-tiny.toml and vit-tiny.model.json: 0.002 GMACs" in said
    assert "beyond-serve --model vit-tiny.onnx" in said


@needs_transformers
def test_an_existing_file_and_an_unwritable_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.toml").write_text("# by hand")
    assert main(["export", "vit-tiny", "-o", str(tmp_path / "m.onnx")]) == 1
    assert "m.toml exists already" in capsys.readouterr().err
    assert main(["export", "vit-tiny", "-o", str(tmp_path / "m.toml" / "m.onnx")]) == 1
    assert "cannot write to" in capsys.readouterr().err


@needs_transformers
def test_describe_shows_cost_and_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export_command, "find", lambda _: TINY_VIT)
    output = tmp_path / "m.onnx"
    options = ["--weights", "random", "--image-size", "32", "--seed", "4", "-o", str(output)]
    assert main(["export", "tiny", *options]) == 0
    capsys.readouterr()
    assert main(["describe", str(output)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "GMACs (" in said
    assert "for an image of 32x32" in said
    assert "random weights (seed 4)" in said
    assert "RANDOM WEIGHTS: its cost is a real model's, its answers mean nothing" in said
