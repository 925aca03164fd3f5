"""Plans that TensorRT-RTX really builds, which needs no GPU; running them does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from beyond_serve.engines.cuda.probe import cuda_devices
from beyond_serve.engines.tensorrt.flavour import FLAVOURS, Installed
from beyond_serve.engines.tensorrt.plan import load_plan_file
from beyond_serve.engines.tensorrt.plan_file import PlanFile, read_plan_file
from beyond_serve.engines.tensorrt.stamp import Stamp, stamp_text
from beyond_serve.errors import ModelLoadError
from beyond_serve.server.models_command import main
from tests.engines.models import Net, write
from tests.engines.tensorrt.vit import write_vit

rtx = pytest.importorskip("tensorrt_rtx_bindings", reason="needs tensorrt-rtx-cu13")

NETS = {
    "RGB": Net(),
    "grey": Net(channels=1),
    "channels last": Net(layout="NHWC"),
    "bytes": Net(datatype="UINT8"),
    "probabilities": Net(softmax=True),
    "any size": Net(size=None),
    "fixed batch": Net(batch=2),
}


def build(source: str, *arguments: str) -> bytes:
    output = Path(source).with_suffix(".plan")
    assert main(["build", source, "-o", str(output), "--max-batch", "8", "--overwrite", *arguments]) == 0
    plan = read_plan_file(output)
    assert (plan.maker, plan.version) == ("rtx", rtx.__version__)
    return plan.content


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_convolutions(tmp_path: Path, net: Net, precision: str) -> None:
    content = build(write(tmp_path / "net.onnx", net), "--precision", precision)
    stamp = Stamp(precision, ("probabilities",) if net.softmax else ())
    assert stamp_text(stamp).encode() in content


def test_another_order_of_channels(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text(
        '[preprocess]\nresize = "exact"\nsize = [12, 16]\nchannel_order = "BGR"\n'
    )
    build(write(tmp_path / "net.onnx"))


def test_a_transformer_in_every_precision(tmp_path: Path) -> None:
    source = write_vit(tmp_path / "vit.onnx")
    plans = {precision: build(source, "--precision", precision) for precision in ("fp32", "fp16", "bf16")}
    for precision, content in plans.items():
        assert stamp_text(Stamp(precision, ())).encode() in content
    assert len(set(plans.values())) == 3


def test_for_chosen_gpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "net.onnx")
    build(source, "--compute-capability", "8.0,8.9")
    output = str(tmp_path / "other.plan")
    assert main(["build", source, "-o", output, "--compute-capability", "9.0"]) == 1
    said = capsys.readouterr().err
    assert "--compute-capability 9.0: not known to TensorRT-RTX" in said
    assert "8.9" in said


def load(content: bytes) -> None:
    file = PlanFile(content, "rtx", rtx.__version__)
    load_plan_file(Path("net.plan"), file, Installed(FLAVOURS[2], rtx), trust=False)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda plan: plan[:-10], "is truncated or damaged: .*plan.header.size == blobSize"),
        (lambda plan: plan[:4], "is truncated or damaged"),
        (lambda plan: plan[:8] + b"\1" + plan[9:], "is truncated or damaged"),
        (
            lambda plan: b"abcd" + plan[4:],
            "was made by another version or kind of TensorRT; this is tensorrt-rtx",
        ),
    ],
)
def test_the_words_by_which_tensorrt_refuses_are_known(
    tmp_path: Path, damage: Callable[[bytes], bytes], complaint: str
) -> None:
    content = build(write(tmp_path / "net.onnx"))
    with pytest.raises(ModelLoadError, match=complaint) as caught:
        load(damage(content))
    assert caught.value.hint


@pytest.mark.skipif(bool(cuda_devices()), reason="this machine has a GPU")
def test_without_a_gpu_a_good_plan_is_refused_and_nothing_crashes(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"cannot be loaded on this GPU: .*cudaError 35"):
        load(build(write(tmp_path / "net.onnx")))
