from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.bench.load.images import MixImage, check_mix, image_mix
from beyond_serve.errors import ConfigError


def test_sizes_have_their_bytes_and_weights() -> None:
    small, medium = image_mix("small:70,medium:30")
    assert (small.name, small.weight, medium.weight) == ("small", 70, 30)
    assert len(small.data) == pytest.approx(4000, rel=0.01)
    assert len(medium.data) == pytest.approx(121_000, rel=0.01)


def test_a_folder_is_read_in_order_and_only_its_images(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    assert [image.name for image in image_mix(str(tmp_path))] == ["a.JPG", "b.png"]


def test_one_file_is_a_set(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"x")
    assert image_mix(str(tmp_path / "one.jpg")) == (MixImage("one.jpg", b"x", 1.0),)


@pytest.mark.parametrize("text", ["huge", "small:many", "small:-1", "", "no/such/folder", "small:nan"])
def test_unknown_sets_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        image_mix(text)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no images"):
        image_mix(str(tmp_path))


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ConfigError):
        check_mix(())
    with pytest.raises(ConfigError):
        check_mix((MixImage("a", b"", 0),))
