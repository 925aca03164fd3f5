"""What a plan's file says before TensorRT sees it. Pure but for reading it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from beyond_serve.errors import ModelLoadError

_MAKERS = {b"ftrt": "tensorrt", b"vtrt": "rtx"}
"""The first four bytes; TensorRT says so when it refuses others."""

_RTX_HEADER = struct.Struct("<4s4xQQBBBB")
_LONGEST_METADATA = 1 << 20
_AGAIN = "build it again from the ONNX model: beyond-models build model.onnx -o model.plan"


class PlanFile(NamedTuple):
    """
    Attributes:
        content: the plan, without what others put before it.
        maker: "tensorrt" or "rtx"; None where the first bytes are new to us.
        version: of the TensorRT-RTX that made it, "1.7.1.116"; None for others.
    """

    content: bytes
    maker: str | None
    version: str | None


def read_plan_file(path: Path) -> PlanFile:
    """
    Raises:
        ModelLoadError: it cannot be read, is truncated, or is a model in another format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelLoadError(
            f"cannot read '{path}': {error.strerror or error}", "check the file's rights"
        ) from error
    content = _without_metadata(content)
    maker = _MAKERS.get(content[:4])
    if maker is None:
        other = _other_format(content)
        if other is not None:
            raise ModelLoadError(f"'{path}' is no TensorRT plan but {other[0]}", other[1])
    if maker != "rtx" or len(content) < _RTX_HEADER.size:
        return PlanFile(content, maker, None)
    _, _, size, *version = _RTX_HEADER.unpack_from(content)
    if size != len(content):
        raise ModelLoadError(
            f"'{path}' is truncated or damaged: {len(content)} of {size} bytes", "copy it again, or " + _AGAIN
        )
    return PlanFile(content, maker, ".".join(map(str, version)))


def _without_metadata(content: bytes) -> bytes:
    """Ultralytics' exporter puts the length of a JSON text and the text before the plan."""
    length = int.from_bytes(content[:4], "little")
    if content[4:5] == b"{" and length < _LONGEST_METADATA and content[4 + length : 8 + length] in _MAKERS:
        return content[4 + length :]
    return content


def _other_format(content: bytes) -> tuple[str, str] | None:
    if content[:4] == b"PK\x03\x04":
        return (
            "a zip archive, as PyTorch writes them",
            "rename it to .pt2 if torch.export made it, or " + _AGAIN,
        )
    if content[:5] == b"<?xml":
        return "an XML file", "rename it to .xml if it is OpenVINO's, or " + _AGAIN
    # An ONNX model begins with its small IR version, then its producer, its graph or its opsets.
    if (
        len(content) > 2
        and content[0] == 0x08
        and content[1] < 0x40
        and content[2] in (0x12, 0x1A, 0x3A, 0x42)
    ):
        return (
            "an ONNX model",
            "rename it to .onnx, or make a plan of it: beyond-models build FILE.onnx -o FILE.plan",
        )
    return None
