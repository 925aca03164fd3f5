from __future__ import annotations

import ctypes

import pytest

from tests.engines.cuda.cpu_kernels import COMPILER, Device, build


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    return build(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def device(library: ctypes.CDLL) -> Device:
    return Device(library)
