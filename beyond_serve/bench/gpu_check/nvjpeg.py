"""What the JPEG hardware is, if nvJPEG lies somewhere here."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HARDWARE = 3  # NVJPEG_BACKEND_HARDWARE
_FOLDERS = ("/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib")


def nvjpeg_facts() -> dict[str, object]:
    """Engines and cores of the hardware decoder, or why nobody says."""
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        return {"nvjpeg": {"library": path, "hardware": hardware(library)}}
    return {"nvjpeg": "not installed"}


def hardware(library: Any) -> str:
    """Of a loaded libnvjpeg."""
    handle, engines, cores = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()
    code = library.nvjpegCreateEx(_HARDWARE, None, None, 0, ctypes.byref(handle))
    if code:
        return f"no hardware decoder (nvjpegCreateEx: {code})"
    try:
        ask = getattr(library, "nvjpegGetHardwareDecoderInfo", None)
        if ask is None:
            return "there; this nvJPEG does not say more"
        code = ask(handle, ctypes.byref(engines), ctypes.byref(cores))
        return f"not told ({code})" if code else f"{engines.value} engines of {cores.value} cores"
    finally:
        library.nvjpegDestroy(handle)


def _candidates() -> Iterator[str]:
    for major in ("13", "12"):
        yield f"libnvjpeg.so.{major}"
    folders = [Path(folder) for folder in _FOLDERS]
    for name in ("nvidia", "torchvision"):
        spec = importlib.util.find_spec(name)
        folders += map(Path, (spec.submodule_search_locations or ()) if spec else ())
    for folder in folders:
        yield from map(str, sorted(folder.glob("**/libnvjpeg*.so*") if folder.is_dir() else ()))
