from __future__ import annotations

import re
from pathlib import Path

import pytest

from beyond_serve.demo.examples import NAMES
from beyond_serve.server import models_command
from beyond_serve.server.models_command import main
from tests.demo.digits import bars
from tests.engines.torch.archives import our_own


def test_describe_says_how_the_demo_model_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "demo"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "pixel_values FP32 (any, 3, 32, 32)" in said
    assert "short edge to 32 (bilinear), centre crop 32x32" in said
    assert "mean 0.5 0.5 0.5" in said
    assert "10: zero, one, two" in said


def test_describe_an_engine_that_takes_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "null:"]) == 0
    assert "encoded bytes, as they come" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "content", "complaint"),
    [
        ("missing.onnx", None, "does not exist"),
        ("text.onnx", b"no model", "text.onnx"),
        ("a.png", b"", "a.png"),
    ],
)
def test_describe_what_is_no_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / path).write_bytes(content)
    assert main(["describe", str(tmp_path / path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("beyond-models: ")
    assert complaint in said
    assert "Traceback" not in said


def test_examples_are_written_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models_command, "load_digits", lambda: bars(10))
    assert main(["demo", "--examples", str(tmp_path / "images")]) == 0
    written = {path.stem for path in (tmp_path / "images").iterdir()}
    assert written == {*NAMES, "medium-three", "medium-eight"}
    assert "12 images" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models_command, "load_digits", lambda: bars(10))
    (tmp_path / "file").touch()
    assert main(["demo", "--examples", str(tmp_path / "file" / "images")]) == 1
    assert "Not a directory" in capsys.readouterr().err


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_describe_says_what_would_run_it_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "demo"]) == 0
    assert re.search(r"runs here +\w+ on (cpu|cuda:0)", capsys.readouterr().out)


def test_describe_a_compiled_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = our_own(tmp_path / "net.pt2", precision="bf16", max_batch=64, device="cuda", capability=(9, 0))
    (tmp_path / "net.labels.txt").write_text("one\ntwo\n")
    assert main(["describe", str(path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "computes in bf16" in said
    assert "compiled for cuda (compute capability 9.0), by PyTorch" in said
    assert "largest batch 64" in said
    assert "runs here torch on" in said
