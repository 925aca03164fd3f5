"""Builds the native core's fuzz target under the address and undefined-behaviour sanitizers, and runs it.

    python -m tests.fuzz.native_fuzz --minutes 30

Needs clang with libFuzzer (Debian: clang), cmake, nasm, and libjpeg-turbo's sources as setup.py fetches them.
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
PYTHON_PARTS = {"module.cpp", "arguments.cpp", "pool_type.cpp", "baseline.cpp"}


def jpeg_source() -> Path:
    found = sorted((ROOT / "build").glob("libjpeg-turbo-*/CMakeLists.txt"))
    if not found:
        raise SystemExit("no libjpeg-turbo sources in build/; build the package first (scripts/setup)")
    return found[-1].parent


def build_jpeg(source: Path) -> Path:
    build = BUILD / "jpeg"
    # libjpeg-turbo's own code shifts negative numbers and calls through generic function types, on purpose.
    flags = "-fsanitize=address,fuzzer-no-link -g -O1 -fno-omit-frame-pointer"
    options = [
        "CMAKE_C_COMPILER=clang",
        f"CMAKE_C_FLAGS={flags}",
        "CMAKE_BUILD_TYPE=None",
        "ENABLE_SHARED=OFF",
    ]
    options += ["WITH_TURBOJPEG=OFF", "WITH_TOOLS=OFF", "WITH_TESTS=OFF", "REQUIRE_SIMD=ON"]
    _run("cmake", "-S", str(source), "-B", str(build), *(f"-D{option}" for option in options))
    _run("cmake", "--build", str(build), "--target", "jpeg-static", "-j2")
    return build


def build_target() -> Path:
    """The instrumented binary; rebuilt from scratch each time but for libjpeg-turbo."""
    source = jpeg_source()
    jpeg = build_jpeg(source)
    target = BUILD / "native_target"
    parts = [str(path) for path in sorted(SOURCES.glob("*.cpp")) if path.name not in PYTHON_PARTS]
    _run(
        "clang++", "-std=c++17", *SANITIZE, "-fsanitize=fuzzer",
        f"-I{SOURCES}", f"-I{source / 'src'}", f"-I{jpeg}",
        str(Path(__file__).with_name("native_target.cpp")), *parts, str(jpeg / "libjpeg.a"), "-lpthread",
        "-o", str(target),
    )  # fmt: skip
    return target


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
