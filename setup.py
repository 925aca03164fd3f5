"""Builds the native preprocessing core; everything else about the package stands in pyproject.toml.

The core links libjpeg-turbo, libpng, zlib-ng and libwebp statically, from the sources in third_party/. Needs
a C++17 compiler, cmake and, on x86-64, nasm. Where one of them is missing the package installs without the
core, and the library decoders serve.

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
THIRD_PARTY = ROOT / "third_party"
JPEG = "libjpeg-turbo-3.1.2"
PNG_AND_WEBP = {"ZLIB_NG": "zlib-ng-2.3.3", "LIBPNG": "libpng-1.6.58", "LIBWEBP": "libwebp-1.6.0"}
"""Sources that third_party/CMakeLists.txt builds, by the names of its options."""
MODE = os.environ.get("BEYOND_NATIVE", "auto")


def unpacked(name: str, into: Path) -> Path:
    """Directory of a library's sources, unpacked now or earlier."""
    target = into / name
    if not target.exists():
        with tarfile.open(THIRD_PARTY / f"{name}.tar.xz") as packed:
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
    make(source, build, options, "jpeg-static")
    return archive


def build_png_and_webp(sources: dict[str, Path], build: Path) -> list[Path]:
    """Static libraries in the order to link them; those already built are used again."""
    archives = [build / "libpng.a", build / "libwebp.a", build / "zlib" / "libz.a"]
    if not all(archive.exists() for archive in archives):
        options = {name: str(source) for name, source in sources.items()}
        options["CMAKE_BUILD_TYPE"] = "Release"
        options["CMAKE_C_FLAGS"] = os.environ.get("BEYOND_NATIVE_FLAGS", "") + " -fvisibility=hidden"
        make(THIRD_PARTY, build, options, "all")
    return archives


def make(source: Path, build: Path, options: dict[str, str], target: str) -> None:
    flags = [f"-D{name}={value}" for name, value in options.items()]
    run_cmake("-S", str(source), "-B", str(build), *flags)
    run_cmake("--build", str(build), "--target", target, "-j", str(os.cpu_count() or 1))


class BuildNative(build_ext):
    """Compiles the core; a failure is told and passed over unless BEYOND_NATIVE=require."""

    def build_extension(self, ext: Extension) -> None:
        try:
            cache = ROOT / "build"
            cache.mkdir(exist_ok=True)
            jpeg = Path(os.environ.get("BEYOND_JPEG_SOURCE") or unpacked(JPEG, cache))
            jpeg_build = cache / f"{JPEG}-{platform.machine()}"
            others = {option: unpacked(name, cache) for option, name in PNG_AND_WEBP.items()}
            build = cache / "-".join(["png-webp", *PNG_AND_WEBP.values(), platform.machine()])
            archives = [build_jpeg(jpeg, jpeg_build), *build_png_and_webp(others, build)]
            ext.extra_objects = [str(archive) for archive in archives]
            ext.depends += ext.extra_objects
            includes = [
                jpeg / "src",
                jpeg_build,
                others["LIBPNG"],
                build / "png",
                build / "zlib",
                others["LIBWEBP"],
            ]
            ext.include_dirs = [str(include) for include in includes]
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
