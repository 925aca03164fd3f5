from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.labels import load_labels

CONFIG = '{"id2label": {"1": "dog", "0": "cat", "2": "emu"}}'


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder / "model.onnx"


def test_nothing_says(tmp_path: Path) -> None:
    assert load_labels(tmp_path / "model.onnx") is None
    assert load_labels(None) is None
    assert load_labels(write(tmp_path, config__json='{"model_type": "vit"}')) is None


def test_id2label_is_ordered_by_number(tmp_path: Path) -> None:
    assert load_labels(write(tmp_path, config__json=CONFIG)) == ("cat", "dog", "emu")


def test_timm_s_label_names(tmp_path: Path) -> None:
    assert load_labels(write(tmp_path, config__json='{"label_names": ["a", "b"]}')) == ("a", "b")


def test_lines_of_a_text_keep_gaps_and_lose_trailing_ones(tmp_path: Path) -> None:
    assert load_labels(write(tmp_path, labels__txt="cat\n\n dög \n\n")) == ("cat", "", "dög")


def test_the_model_s_own_files_come_first(tmp_path: Path) -> None:
    model = write(tmp_path, labels__txt="c", config__json=CONFIG)
    assert load_labels(model) == ("cat", "dog", "emu")
    write(tmp_path, model__labels__txt="b")
    assert load_labels(model) == ("b",)
    write(tmp_path, model__toml="labels = 'names.lst'", names__lst="a\nz")
    assert load_labels(model) == ("a", "z")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"model__toml": "labels = 'missing.txt'"}, "missing.txt: cannot be read"),
        ({"model__toml": "labels = [1, 2]"}, "must be a list of texts"),
        ({"labels__txt": "\n \n"}, "holds no labels"),
        ({"config__json": '{"id2label": {"0": "a", "2": "b"}}'}, "without gaps"),
        ({"config__json": '{"id2label": {"x": "a"}}'}, "no number"),
        ({"config__json": '{"id2label": ["a"]}'}, "must be an object"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_labels(write(tmp_path, **files))
    assert says in raised.value.message


def test_labels_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_labels(tmp_path / "model.onnx")
