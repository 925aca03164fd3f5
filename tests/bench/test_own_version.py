"""The version that runs and reports name."""

from __future__ import annotations

from pathlib import Path

import pytest

import beyond_serve
from beyond_serve.bench.own_version import own_version


def test_version_of_a_repository_and_of_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert own_version().startswith(beyond_serve.__version__)
    monkeypatch.setattr(beyond_serve, "__file__", str(tmp_path / "beyond_serve" / "__init__.py"))
    assert own_version() == beyond_serve.__version__
    (tmp_path / ".git").touch()
    assert own_version() == beyond_serve.__version__
