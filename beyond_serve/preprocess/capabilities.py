"""Which parts of decoding a format lets one leave out, and which of that is implemented here.

Source: SMOL (arXiv 2007.13005), Table 5 and section 6.4, extended by what the formats' standards allow.
Data for planning: a plan may count on what is implemented and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess import native


class Feature(StrEnum):
    """Ways of decoding less.

    REGION: pixels outside a box are not reconstructed (SMOL's partial or ROI decoding).
    EARLY_STOP: decoding ends after the last row, in raster order, that is wanted.
    DCT_SCALING: reconstructed at 1/2, 1/4 or 1/8 from the low frequencies.
    PROGRESSIVE: a coarse whole picture from a part of the bytes.
    MULTI_RESOLUTION: smaller versions are in the file, one is decoded.
    REDUCED_FIDELITY: a filter of the decoder is left out, such as deblocking.
    """

    REGION = "region"
    EARLY_STOP = "early stop"
    DCT_SCALING = "DCT scaling"
    PROGRESSIVE = "progressive"
    MULTI_RESOLUTION = "multi-resolution"
    REDUCED_FIDELITY = "reduced fidelity"


class Decoder(StrEnum):
    """What decodes here."""

    NATIVE = "native core"
    SIMPLEJPEG = "simplejpeg"
    PILLOW = "Pillow"


@dataclass(frozen=True, slots=True)
class Support:
    """One format with one feature.

    Attributes:
        by: the decoders here that do it; empty where the format has it and nothing here uses it.
        in_paper: SMOL's Table 5 names it.
        how: what is left out, and what limits it.
    """

    format: str
    feature: Feature
    how: str
    by: tuple[Decoder, ...] = ()
    in_paper: bool = False


@dataclass(frozen=True, slots=True)
class FormatSupport:
    """A format: what kind it is, and what decodes it whole (nothing: it is not served)."""

    name: str
    kind: str
    decoders: tuple[Decoder, ...]


_JPEG = (Decoder.NATIVE, Decoder.SIMPLEJPEG, Decoder.PILLOW)
_BY_ROWS = (Decoder.NATIVE, Decoder.PILLOW)
_PILLOW = (Decoder.PILLOW,)

FORMATS = (
    FormatSupport("jpeg", "image", _JPEG),
    FormatSupport("png", "image", _BY_ROWS),
    FormatSupport("webp", "image", _BY_ROWS),
    FormatSupport("bmp", "image", _PILLOW),
    FormatSupport("gif", "image", _PILLOW),
    FormatSupport("jpeg 2000", "image", ()),
    FormatSupport("heic/hevc", "image, video", ()),
    FormatSupport("avif/av1", "image, video", ()),
    FormatSupport("h.264", "video", ()),
    FormatSupport("vp8", "video", ()),
    FormatSupport("vp9", "video", ()),
)

_DEBLOCKING = "the deblocking filter can be left out; errors then drift until the next key frame"

SUPPORT = (
    Support(
        "jpeg", Feature.REGION,
        "blocks outside the box are parsed and not reconstructed", (Decoder.NATIVE,), in_paper=True,
    ),
    Support("jpeg", Feature.EARLY_STOP, "bytes after the region's last row are not read", (Decoder.NATIVE,)),
    Support(
        "jpeg", Feature.DCT_SCALING, "1/2, 1/4, 1/8 of each edge; fidelity 'fast'",
        (Decoder.NATIVE, Decoder.SIMPLEJPEG),
    ),
    Support("jpeg", Feature.PROGRESSIVE, "the first scans alone; all scans are decoded here"),
    Support(
        "png", Feature.EARLY_STOP,
        "rows come in order unless interlaced; those below the region are not read",
        (Decoder.NATIVE,), in_paper=True,
    ),
    Support("png", Feature.PROGRESSIVE, "interlaced files: passes of 1/64 of the pixels onwards"),
    Support(
        "webp", Feature.EARLY_STOP,
        "rows come in order, lossy and lossless; those below the region are not decoded",
        (Decoder.NATIVE,), in_paper=True,
    ),
    Support("webp", Feature.REDUCED_FIDELITY, "lossy files: the in-loop filter can be left out"),
    Support("bmp", Feature.REGION, "uncompressed rows are at known places"),
    Support("gif", Feature.EARLY_STOP, "rows come in order unless interlaced"),
    Support("jpeg 2000", Feature.REGION, "tiles and precincts are coded apart"),
    Support("jpeg 2000", Feature.PROGRESSIVE, "quality layers"),
    Support("jpeg 2000", Feature.MULTI_RESOLUTION, "each wavelet level is half the size", in_paper=True),
    Support("heic/hevc", Feature.REGION, "where the picture is coded in tiles or as a grid of images"),
    Support("heic/hevc", Feature.MULTI_RESOLUTION, "a thumbnail image beside the main one"),
    Support("heic/hevc", Feature.REDUCED_FIDELITY, _DEBLOCKING, in_paper=True),
    Support("avif/av1", Feature.REGION, "where the picture is coded in tiles or as a grid of images"),
    Support("avif/av1", Feature.REDUCED_FIDELITY, "film grain synthesis can be left out"),
    Support("h.264", Feature.REDUCED_FIDELITY, _DEBLOCKING, in_paper=True),
    Support("vp8", Feature.REDUCED_FIDELITY, _DEBLOCKING, in_paper=True),
    Support("vp9", Feature.REDUCED_FIDELITY, _DEBLOCKING, in_paper=True),
)  # fmt: skip


def formats() -> tuple[str, ...]:
    return tuple(known.name for known in FORMATS)


def decoders_of(format_name: str) -> tuple[Decoder, ...]:
    """What decodes the whole format in this installation, first the one that is asked first.

    Raises:
        ConfigError: a format that the table does not know.
    """
    for known in FORMATS:
        if known.name == format_name:
            return _present(known.decoders)
    raise ConfigError(f"no format '{format_name}'", f"known are {', '.join(formats())}")


def support(format_name: str, feature: Feature) -> Support | None:
    """The table's entry; None where the format does not have the feature. See `usable` for what runs here."""
    decoders_of(format_name)
    for entry in SUPPORT:
        if entry.format == format_name and entry.feature is feature:
            return entry
    return None


def usable(format_name: str, feature: Feature) -> tuple[Decoder, ...]:
    """The decoders of this installation that do it; empty where none does. Raises as `decoders_of`."""
    entry = support(format_name, feature)
    return _present(entry.by) if entry else ()


def _present(decoders: Iterable[Decoder]) -> tuple[Decoder, ...]:
    return tuple(one for one in decoders if one is not Decoder.NATIVE or native.available())
