from __future__ import annotations

from dataclasses import replace

import pytest

from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import ModelLoadError
from beyond_serve.server.joined_info import joined_info
from tests.fakes.engines import INFO

FIRST = replace(INFO, device="cuda:0", max_batch=64, ranks=16, warnings=("fp16", "first"))
SECOND = replace(INFO, device="cuda:1", max_batch=32, ranks=0, warnings=("fp16", "second"))


def test_one_engine_speaks_for_itself() -> None:
    assert joined_info("m", [FIRST]) == FIRST


def test_several_can_do_what_each_of_them_can() -> None:
    joined = joined_info("m", [FIRST, SECOND])
    assert joined.device == "cuda:0,cuda:1"
    assert (joined.max_batch, joined.ranks) == (32, 0)
    assert joined.warnings == ("fp16", "first", "second")
    assert joined_info("m", [FIRST, replace(SECOND, max_batch=None)]).max_batch == 64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"precision": "bf16"}, "precision fp32 on cuda:0 and bf16 on cuda:1"),
        ({"outputs": (TensorSpec("logits", "FP32", (-1, 3)),)}, "outputs"),
        ({"image_shape": (4, 4, 3)}, "image shape"),
    ],
)
def test_answers_must_not_depend_on_the_device(change: dict[str, object], says: str) -> None:
    with pytest.raises(ModelLoadError, match="do not agree") as caught:
        joined_info("m", [FIRST, replace(SECOND, **change)])  # type: ignore[arg-type]
    assert says in caught.value.message
    assert caught.value.hint
