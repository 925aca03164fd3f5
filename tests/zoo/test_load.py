from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.errors import ConfigError
from beyond_serve.zoo.load import library_of_folder


@pytest.mark.parametrize(
    ("config", "library"),
    [('{"model_type": "vit"}', "transformers"), ('{"architecture": "resnet18"}', "timm")],
)
def test_whose_checkpoint_it_is(config: str, library: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    assert library_of_folder(tmp_path) == library


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (None, "has no config.json"),
        ("{}", "names neither"),
        ("[]", "is no JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_nobodys_checkpoint(config: str | None, complaint: str, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ConfigError, match=complaint):
        library_of_folder(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is no folder"):
        library_of_folder(tmp_path / "file")
