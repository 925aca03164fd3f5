"""Builds the native preprocessing core; everything else about the package stands in pyproject.toml.

The core links libjpeg-turbo statically, from the sources in third_party/. Needs a C++17 compiler, cmake and,
on x86-64, nasm. Where one of them is missing the package installs without the core, and the library decoders
serve.

BEYOND_JPEG_SOURCE names an unpacked libjpeg-turbo to use instead. BEYOND_NATIVE=require makes a failed build
an error, BEYOND_NATIVE=skip leaves the core out. BEYOND_NATIVE_FLAGS are added for compiler and linker.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
SOURCES = Path("beyond_serve/preprocess/native")
JPEG_VERSION = "3.1.2"
JPEG_ARCHIVE = ROOT / "third_party" / f"libjpeg-turbo-{JPEG_VERSION}.tar.xz"
MODE = os.environ.get("BEYOND_NATIVE", "auto")


def jpeg_source(into: Path) -> Path:
    """Directory of libjpeg-turbo's sources: given, or unpacked now or earlier."""
    given = os.environ.get("BEYOND_JPEG_SOURCE")
    if given:
        return Path(given)
    target = into / f"libjpeg-turbo-{JPEG_VERSION}"
    if not (target / "CMakeLists.txt").exists():
        with tarfile.open(JPEG_ARCHIVE) as packed:
            # The archive is our own; Python 3.11.2, Debian 12's, does not know filters yet.
            packed.extractall(into, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # noqa: S202
    return target


def run_cmake(*arguments: str) -> None:
    subprocess.run(["cmake", *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603, S607


def build_jpeg(source: Path, build: Path) -> Path:
    """Static, position-independent libjpeg.a with its SIMD code; an archive already built is used again."""
    archive = build / "libjpeg.a"
    if archive.exists():
        return archive
    simd = "ON" if platform.machine() in {"x86_64", "AMD64", "aarch64", "arm64"} else "OFF"
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_POSITION_INDEPENDENT_CODE": "ON",
        "CMAKE_C_FLAGS": os.environ.get("BEYOND_NATIVE_FLAGS", "") + " -fvisibility=hidden",
        "ENABLE_SHARED": "OFF",
        "WITH_TURBOJPEG": "OFF",
        "WITH_TOOLS": "OFF",
        "WITH_TESTS": "OFF",
        "REQUIRE_SIMD": simd,
        "WITH_SIMD": simd,
    }
    flags = [f"-D{name}={value}" for name, value in options.items()]
    run_cmake("-S", str(source), "-B", str(build), *flags)
    run_cmake("--build", str(build), "--target", "jpeg-static", "-j", str(os.cpu_count() or 1))
    return archive


class BuildNative(build_ext):
    """Compiles the core; a failure is told and passed over unless BEYOND_NATIVE=require."""

    def build_extension(self, ext: Extension) -> None:
        try:
            cache = ROOT / "build"
            cache.mkdir(exist_ok=True)
            source = jpeg_source(cache)
            build = cache / f"libjpeg-turbo-{JPEG_VERSION}-{platform.machine()}"
            ext.extra_objects = [str(build_jpeg(source, build))]
            ext.include_dirs = [str(source / "src"), str(build)]
            super().build_extension(ext)
        except Exception as error:
            if MODE == "require":
                raise
            self.warn(f"beyond-serve is installed without its native core: {error}")


def native_extension() -> Extension:
    extra = os.environ.get("BEYOND_NATIVE_FLAGS", "").split()
    return Extension(
        "beyond_serve.preprocess._native",
        sources=sorted(str(path) for path in SOURCES.glob("*.cpp")),
        depends=sorted(str(path) for path in SOURCES.glob("*.h")),
        define_macros=[("Py_LIMITED_API", "0x030B0000"), ("NDEBUG", "1")],
        extra_compile_args=["-std=c++17", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra", *extra],
        extra_link_args=["-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", "-pthread", *extra]
        if sys.platform == "linux"
        else extra,
        py_limited_api=True,
        optional=MODE != "require",
        language="c++",
    )


supported = sys.platform in {"linux", "darwin"} and MODE != "skip"
setup(
    ext_modules=[native_extension()] if supported else [],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if supported else {},
)
