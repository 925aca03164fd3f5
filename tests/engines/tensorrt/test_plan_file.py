from __future__ import annotations

import struct
from pathlib import Path

import pytest

from beyond_serve.engines.tensorrt.plan_file import read_plan_file
from beyond_serve.errors import ModelLoadError
from tests.engines.models import write


def rtx(content: bytes, size: int | None = None) -> bytes:
    total = 64 + len(content)
    head = struct.pack("<4s4xQQBBBB", b"vtrt", 2, total if size is None else size, 1, 7, 1, 116)
    return head.ljust(64, b"\0") + content


def read(tmp_path: Path, content: bytes):
    path = tmp_path / "net.plan"
    path.write_bytes(content)
    return read_plan_file(path)


def test_who_made_it(tmp_path: Path) -> None:
    assert read(tmp_path, b"ftrt....") == (b"ftrt....", "tensorrt", None)
    plan = read(tmp_path, rtx(b"kernels"))
    assert (plan.maker, plan.version) == ("rtx", "1.7.1.116")
    assert read(tmp_path, b"new magic").maker is None


def test_the_text_that_ultralytics_puts_before_it_is_left_out(tmp_path: Path) -> None:
    text = b'{"task": "classify"}'
    plan = read(tmp_path, struct.pack("<i", len(text)) + text + b"ftrt....")
    assert plan == (b"ftrt....", "tensorrt", None)


@pytest.mark.parametrize("size", [10, 64, 80])
def test_a_truncated_rtx_plan_says_how_much_is_there(tmp_path: Path, size: int) -> None:
    whole = rtx(bytes(100))
    if size < 28:
        assert read(tmp_path, whole[:size]).version is None
        return
    with pytest.raises(ModelLoadError, match=f"truncated or damaged: {size} of 164 bytes") as caught:
        read(tmp_path, whole[:size])
    assert "copy it again" in caught.value.hint


def test_other_formats_are_named(tmp_path: Path) -> None:
    onnx = Path(write(tmp_path / "net.onnx")).read_bytes()
    with pytest.raises(ModelLoadError, match="no TensorRT plan but an ONNX model") as caught:
        read(tmp_path, onnx)
    assert "rename it to .onnx" in caught.value.hint
    with pytest.raises(ModelLoadError, match="a zip archive"):
        read(tmp_path, b"PK\x03\x04 torch")
    with pytest.raises(ModelLoadError, match="an XML file"):
        read(tmp_path, b"<?xml version='1.0'?>")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"cannot read '.*none.plan': No such file"):
        read_plan_file(tmp_path / "none.plan")
