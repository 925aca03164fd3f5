"""Which files beside the code a wheel holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

setuptools = pytest.importorskip("setuptools")

ROOT = Path(__file__).parents[2]


def test_what_a_server_measured_here_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "README.md").write_text("read me")
    demo = tmp_path / "beyond_serve" / "demo"
    demo.mkdir(parents=True)
    (demo / "__init__.py").touch()
    (demo.parent / "__init__.py").write_text('__version__ = "1"\n')
    for name in ("digits.onnx", "digits.toml", "digits.json", "digits.costs.json"):
        (demo / name).write_text("{}")
    monkeypatch.chdir(tmp_path)
    distribution = setuptools.Distribution({"script_name": "setup.py"})
    distribution.parse_config_files(["pyproject.toml"])
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    packed = {Path(name).name for *_, names in build.data_files for name in names}
    assert packed == {"digits.onnx", "digits.toml", "digits.json"}
