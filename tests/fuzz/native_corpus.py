"""Seeds for the native core's fuzz target: valid files of every kind, and each known way of being bad."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.rows_corpus import rows_seeds
from tests.preprocess.native.jpegs import encode, picture

HEAD_BYTES = 16
"""Parameters before the file; see native_target.cpp."""


def seeds() -> Iterator[tuple[str, bytes]]:
    """(name, file or what claims to be one); the same on every run."""
    yield from _jpegs()
    yield from rows_seeds()


def _jpegs() -> Iterator[tuple[str, bytes]]:
    for width, height in ((1, 1), (8, 8), (17, 9), (64, 48), (130, 70)):
        for subsampling in (0, 1, 2):
            for progressive in (False, True):
                name = f"{width}x{height}-{subsampling}-{'progressive' if progressive else 'baseline'}"
                yield name, encode(picture(width, height), 75, subsampling, progressive=progressive)
    yield "grey", encode(picture(50, 40).convert("L"))
    yield "restarts", encode(picture(64, 48), restart=2)
    yield "cmyk", encode(Image.new("CMYK", (40, 30), (1, 2, 3, 4)))
    yield "tall", encode(Image.new("RGB", (1, 65500), (9, 8, 7)))
    yield "wide", encode(Image.new("RGB", (65500, 1), (9, 8, 7)))
    yield from _damaged(encode(picture(64, 48), 80), "baseline")
    yield from _damaged(encode(picture(64, 48), 80, progressive=True), "progressive")


def _damaged(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(1)
    for part in (3, 20, 200, len(data) // 2, len(data) - 2):
        yield f"{name}-cut-{part}", data[:part]
    for index in range(12):
        flipped = bytearray(data)
        for place in rng.integers(2, len(data), 8):
            flipped[place] ^= 1 << int(rng.integers(8))
        yield f"{name}-flipped-{index}", bytes(flipped)
    frame = data.index(b"\xff\xc2" if name == "progressive" else b"\xff\xc0")
    for width, height in ((0, 0), (65535, 65535), (1, 65535), (65535, 1), (63, 49)):
        lying = data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]
        yield f"{name}-says-{width}x{height}", lying
    for precision in (12, 16):
        yield f"{name}-{precision}-bit", data[: frame + 4] + bytes([precision]) + data[frame + 5 :]
    for marker in (0xC1, 0xC3, 0xC5, 0xC9, 0xCA, 0xD9, 0xDA):
        yield f"{name}-marker-{marker:x}", data[: frame + 1] + bytes([marker]) + data[frame + 2 :]
    scan = data.rindex(b"\xff\xda")
    yield f"{name}-endless-scans", data[:scan] + data[scan:-2] * 40 + data[-2:]
    for factors in (0x11, 0x41, 0x14, 0x44, 0x00, 0x31, 0xFF):
        yield f"{name}-sampling-{factors:x}", data[: frame + 11] + bytes([factors]) + data[frame + 12 :]


def heads() -> list[bytes]:
    """Parameters: the whole image, a window of it, DCT-scaled and tolerant, turned, planar."""
    whole = bytes([31, 23, 0, 0, 1, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0])
    window = bytes([15, 15, 1, 5, 3, 0, 0, 0, 40, 30, 220, 200, 9, 9, 4, 4])
    scaled = bytes([7, 7, 0, 0, 2, 64, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0])
    planar = bytes([40, 50, 4, 7, 15, 90, 0, 0, 10, 0, 250, 250, 1, 0, 0, 1])
    return [whole, window, scaled, planar]


def write(folder: Path) -> int:
    """Write every seed under every head; returns how many files."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, data in seeds():
        for index, head in enumerate(heads()):
            (folder / f"{name}-{index}").write_bytes(head + data)
            count += 1
    return count
