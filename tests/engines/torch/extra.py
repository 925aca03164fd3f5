"""Which tests need PyTorch, and which a C++ compiler too."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
