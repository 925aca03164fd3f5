"""Builds the native core's fuzz target under the address and undefined-behaviour sanitizers, and runs it.

    python -m tests.fuzz.native_fuzz --minutes 30

Needs clang with libFuzzer (Debian: clang), cmake, nasm, and the libraries' sources as setup.py unpacks them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fuzz.native_corpus import write

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "beyond_serve" / "preprocess" / "native"
BUILD = ROOT / "build" / "fuzz"
SANITIZE = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-g",
    "-O1",
    "-fno-omit-frame-pointer",
]
LIBRARIES = {"ZLIB_NG": "zlib-ng", "LIBPNG": "libpng", "LIBWEBP": "libwebp"}
PYTHON_PARTS = {"module.cpp", "arguments.cpp", "pool_type.cpp", "baseline.cpp"}


def sources(name: str) -> Path:
    """Where the package's build has unpacked a library."""
    found = sorted(path for path in (ROOT / "build").glob(f"{name}-[0-9]*") if _version_alone(path, name))
    if not found:
        raise SystemExit(f"no {name} sources in build/; build the package first (scripts/setup)")
    return found[-1]


def _version_alone(path: Path, name: str) -> bool:
    """Sources, not a build of them, whose folder's name goes on after the version."""
    return "-" not in path.name.removeprefix(f"{name}-")


def build_jpeg(source: Path) -> Path:
    build = BUILD / "jpeg"
    # libjpeg-turbo's own code shifts negative numbers and calls through generic function types, on purpose.
    flags = "-fsanitize=address,fuzzer-no-link -g -O1 -fno-omit-frame-pointer"
    options = [
        "ENABLE_SHARED=OFF",
        "WITH_TURBOJPEG=OFF",
        "WITH_TOOLS=OFF",
        "WITH_TESTS=OFF",
        "REQUIRE_SIMD=ON",
    ]
    _cmake(source, build, flags, options, "jpeg-static")
    return build


def build_png_and_webp() -> Path:
    build = BUILD / "png-webp"
    options = [f"{option}={sources(name)}" for option, name in LIBRARIES.items()]
    _cmake(ROOT / "third_party", build, " ".join([*SANITIZE, "-fsanitize=fuzzer-no-link"]), options, "all")
    return build


def build_target() -> Path:
    """The instrumented binary; rebuilt from scratch each time but for the libraries."""
    jpeg_source = sources("libjpeg-turbo")
    jpeg, others = build_jpeg(jpeg_source), build_png_and_webp()
    target = BUILD / "native_target"
    parts = [str(path) for path in sorted(SOURCES.glob("*.cpp")) if path.name not in PYTHON_PARTS]
    includes = [
        SOURCES,
        jpeg_source / "src",
        jpeg,
        sources("libpng"),
        others / "png",
        others / "zlib",
        sources("libwebp"),
    ]
    archives = [jpeg / "libjpeg.a", others / "libpng.a", others / "libwebp.a", others / "zlib" / "libz.a"]
    _run(
        "clang++", "-std=c++17", *SANITIZE, "-fsanitize=fuzzer", *(f"-I{include}" for include in includes),
        str(Path(__file__).with_name("native_target.cpp")), *parts, *map(str, archives), "-lpthread",
        "-o", str(target),
    )  # fmt: skip
    return target


def _cmake(source: Path, build: Path, flags: str, options: list[str], target: str) -> None:
    common = ["CMAKE_C_COMPILER=clang", f"CMAKE_C_FLAGS={flags}", "CMAKE_BUILD_TYPE=None"]
    _run("cmake", "-S", str(source), "-B", str(build), *(f"-D{option}" for option in [*common, *options]))
    _run("cmake", "--build", str(build), "--target", target, "-j2")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--jobs", type=int, default=1, help="processes that share one corpus")
    given = parser.parse_args()
    if shutil.which("clang++") is None:
        raise SystemExit("clang++ is not installed")
    target = build_target()
    corpus = BUILD / "corpus"
    print(f"{write(corpus)} seeds")
    limits = [
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-max_len=262144",
        f"-max_total_time={given.minutes * 60:.0f}",
    ]
    many = [f"-jobs={given.jobs}", f"-workers={given.jobs}"] if given.jobs > 1 else []
    command = [str(target), str(corpus), *limits, *many, "-print_final_stats=1", f"-artifact_prefix={BUILD}/"]
    sys.exit(subprocess.run(command, check=False, cwd=BUILD).returncode)


if __name__ == "__main__":
    main()
