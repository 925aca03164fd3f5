"""Seeds of PNG and WebP: valid files of every kind, and each known way of being bad."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image

from tests.preprocess.images import chunk, encode
from tests.preprocess.native.jpegs import picture
from tests.preprocess.native.rasters import KINDS, png, webp

PNG_HEADER_END = 33


def rows_seeds() -> Iterator[tuple[str, bytes]]:
    """(name, PNG or WebP or what claims to be one); the same on every run."""
    for colour, bits in KINDS:
        yield f"png-{colour}-{bits}", png(40, 30, colour, bits)
    yield from _pngs()
    yield from damaged(png(64, 48), "png")
    yield from damaged(encode(picture(64, 48).quantize(16), "PNG"), "palette")
    for width, height in ((1, 1), (17, 33), (64, 48)):
        for lossless in (False, True):
            for alpha in (False, True):
                name = (
                    f"webp-{width}x{height}-{'lossless' if lossless else 'lossy'}{'-alpha' if alpha else ''}"
                )
                yield name, webp(width, height, lossless=lossless, alpha=alpha)
    yield from _webps()
    yield from damaged(webp(64, 48), "lossy")
    yield from damaged(webp(64, 48, lossless=True), "lossless")


def _pngs() -> Iterator[tuple[str, bytes]]:
    whole = png(40, 30)
    yield "png-photo", encode(picture(64, 48), "PNG")
    yield "png-interlaced", _ihdr(whole, interlace=1)
    yield "png-stored", png(40, 30, level=0)
    yield "png-text", png(40, 30, extra=chunk(b"tEXtkey\0value") + chunk(b"gAMA\0\0\xb1\x8f"))
    yield "png-profile", png(40, 30, extra=chunk(b"iCCPname\0\0" + bytes(200)))
    yield "png-animated", png(40, 30, extra=chunk(b"acTL" + struct.pack(">II", 2, 0)))
    yield "png-many-chunks", png(40, 30, extra=chunk(b"tEXta\0b") * 5000)
    yield "png-endless-chunk", whole[:PNG_HEADER_END] + b"\xff\xff\xff\xff" + whole[PNG_HEADER_END + 4 :]
    yield "png-no-palette", _ihdr(whole, colour=3)
    for width, height in ((0, 0), (40, 2**31 - 1), (2**31 - 1, 1), (2**32 - 1, 30), (39, 31), (1 << 20, 2)):
        yield f"png-says-{width}x{height}", _ihdr(whole, width, height)
    for colour, bits in ((1, 8), (2, 4), (3, 16), (6, 32), (7, 8)):
        yield f"png-says-{colour}-{bits}", _ihdr(whole, colour=colour, bits=bits)


def _webps() -> Iterator[tuple[str, bytes]]:
    frames = [picture(20, 20, seed=seed) for seed in (1, 2)]
    buffer = BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    yield "webp-animated", buffer.getvalue()
    yield "webp-flat", encode(Image.new("RGB", (100, 400), (9, 8, 7)), "WEBP", lossless=True)
    yield "webp-strong", webp(130, 70, quality=1)
    alpha = webp(64, 48, alpha=True)
    yield "webp-canvas", alpha[:24] + struct.pack("<I", 99)[:3] + alpha[27:]
    lossy = webp(64, 48)
    yield "webp-longer-than-its-container", lossy[:4] + struct.pack("<I", 40) + lossy[8:]
    yield "webp-endless-chunk", lossy[:16] + b"\xf0\xff\xff\xff" + lossy[20:]
    yield "webp-large", lossy[:26] + struct.pack("<HH", 16383, 16383) + lossy[30:]
    lossless = webp(64, 48, lossless=True)
    yield "webp-lossless-large", lossless[:21] + struct.pack("<I", 0x3FFF | 0x3FFF << 14) + lossless[25:]


def damaged(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(1)
    for part in (7, 20, 30, len(data) // 2, len(data) - 20):
        yield f"{name}-cut-{part}", data[:part]
    for index in range(12):
        flipped = bytearray(data)
        for place in rng.integers(12, len(data), 4):
            flipped[place] ^= 1 << int(rng.integers(8))
        yield f"{name}-flipped-{index}", bytes(flipped)


def _ihdr(
    data: bytes, width: int = 40, height: int = 30, *, bits: int = 8, colour: int = 2, interlace: int = 0
) -> bytes:
    """`data` with another header chunk, its checksum right."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    return data[:8] + chunk(b"IHDR" + head) + data[PNG_HEADER_END:]
