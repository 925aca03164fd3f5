from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.plan import Interpolation, Normalization, PreprocessPlan, Resize
from beyond_serve.preprocess.presets import load_plan
from beyond_serve.zoo import plans
from beyond_serve.zoo.sidecar import sidecar_text

_OTHERS = [
    PreprocessPlan(Resize.NONE, crop=(30, 20)),
    PreprocessPlan(Resize.COVER, (40, 30), (32, 24), Interpolation.LANCZOS),
    PreprocessPlan(normalization=Normalization(scale=1.0, mean=(1e-9, 103.5, -2.0), std=(57.375, 1e20, 3.0))),
]


@pytest.mark.parametrize("plan", [plans.VIT, plans.DEIT, plans.CONVNEXT, plans.MOBILEVIT, *_OTHERS])
def test_the_server_reads_the_same_plan_again(plan: PreprocessPlan, tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(sidecar_text(plan, None, "comment"), encoding="utf-8")
    read, source = load_plan(tmp_path / "m.onnx", None)
    assert (read.output_shape, read.resize, read.crop, read.normalization) == (
        plan.output_shape, plan.resize, plan.crop, plan.normalization,
    )  # fmt: skip
    if plan.resize is not Resize.NONE:
        assert read == plan
    assert source == str(path)
    assert load_labels(tmp_path / "m.onnx") is None


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4))
def test_labels_come_back_whatever_is_in_them(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    (folder / "m.toml").write_text(
        sidecar_text(plans.VIT, labels, "two\nlines"), encoding="utf-8", newline=""
    )
    assert load_labels(folder / "m.onnx") == tuple(labels)


def test_the_comment_comes_first() -> None:
    assert sidecar_text(plans.VIT, None, "one\ntwo").startswith("# one\n# two\n")
