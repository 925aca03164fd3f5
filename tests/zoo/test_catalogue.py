from __future__ import annotations

import pytest

from beyond_serve.errors import ConfigError
from beyond_serve.zoo.catalogue import ARCHITECTURES, find


def test_names_are_found_in_any_case() -> None:
    assert find("ResNet-50") is ARCHITECTURES["resnet-50"]


@pytest.mark.parametrize(
    ("typed", "meant"), [("resnet50", "resnet-50"), ("vit_base", "vit-base"), ("mobilenetv2", "mobilenet-v2")]
)
def test_a_near_name_is_suggested(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"no architecture is called '{typed}'") as caught:
        find(typed)
    assert caught.value.hint is not None
    assert meant in caught.value.hint


def test_what_resembles_nothing_is_sent_to_the_list() -> None:
    with pytest.raises(ConfigError) as caught:
        find("zzzzzz")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("`beyond-models export --list`")


def test_other_models_are_named_by_library() -> None:
    timm = find("timm:resnet10t.c3_in1k")
    assert (timm.library, timm.model, timm.hub) == ("timm", "resnet10t.c3_in1k", "timm/resnet10t.c3_in1k")
    hub = find("hf:facebook/levit-128S")
    assert (hub.library, hub.name, hub.hub) == ("transformers", "facebook-levit-128S", "facebook/levit-128S")


@pytest.mark.parametrize("typed", ["hf:levit", "hf:a/b/c", "hf:/b", "timm:"])
def test_half_a_name_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError):
        find(typed)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_entries_are_complete(name: str) -> None:
    entry = ARCHITECTURES[name]
    assert entry.gmacs > 0
    assert entry.millions > 0
    assert entry.model
    if entry.library == "transformers":
        assert entry.plan is not None
        assert entry.plan.output_shape[:2] == (entry.image_size, entry.image_size)
    else:
        assert entry.hub == f"timm/{entry.model}"
