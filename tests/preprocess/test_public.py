"""The names that the package exports: all there, none loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import beyond_serve.preprocess as public


@pytest.mark.parametrize("name", public.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(public, name) is not None


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'decoed'"):
        _ = public.decoed


def test_importing_loads_nothing() -> None:
    code = (
        "import sys, beyond_serve.preprocess\n"
        "assert not {'numpy', 'PIL', 'simplejpeg'} & set(sys.modules)\n"
        "from beyond_serve.preprocess import PreprocessPlan, Region\n"
        "assert not {'PIL', 'simplejpeg'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
