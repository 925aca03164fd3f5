from __future__ import annotations

import sys
from pathlib import Path

import pytest

from beyond_serve.engines.cuda import probe
from beyond_serve.engines.cuda.probe import Driver
from beyond_serve.engines.tensorrt.flavour import FLAVOURS
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.presets import load_plan
from beyond_serve.server.models_command import main
from tests.engines.models import SIZE, Net, write
from tests.engines.tensorrt.fake_builder import FakeBuilderTrt

SIDECAR = """\
labels = ["a", "b", "c", "d", "e"]
[preprocess]
resize = "exact"
size = [12, 16]
mean = [0.5, 0.5, 0.5]
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, and no TensorRT."""
    monkeypatch.setattr(probe, "driver", lambda: Driver((), "NVIDIA's driver is not installed"))
    for known in FLAVOURS:
        for name in known.modules:
            monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def rtx(bare: None, monkeypatch: pytest.MonkeyPatch) -> FakeBuilderTrt:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", trt := FakeBuilderTrt())
    return trt


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("rtx")
def test_a_plan_beside_its_model_finds_the_models_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "net.onnx")
    (tmp_path / "net.toml").write_text(SIDECAR)
    assert main(["build", source, "-o", str(tmp_path / "net.plan"), "--max-batch", "8"]) == 0
    said = capsys.readouterr().out
    assert f"from {tmp_path / 'net.toml'}" in said
    assert "with tensorrt-rtx-cu13 1.7.1.116: fp16, batches of 1 to 8" in said
    assert f"serve it: beyond-serve --model {tmp_path / 'net.plan'}" in said
    assert names(tmp_path) == {"net.onnx", "net.toml", "net.plan"}
    assert (tmp_path / "net.toml").read_text() == SIDECAR


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("output", ["elsewhere/net.plan", "other.engine"])
def test_a_plan_elsewhere_gets_a_file_of_its_own(tmp_path: Path, output: str) -> None:
    source = Path(write(tmp_path / "net.onnx"))
    (tmp_path / "net.toml").write_text(SIDECAR)
    made = tmp_path / output
    made.parent.mkdir(exist_ok=True)
    assert main(["build", str(source), "-o", str(made)]) == 0
    assert load_plan(made, SIZE)[0] == load_plan(source, SIZE)[0]
    assert load_labels(made) == load_labels(source) == ("a", "b", "c", "d", "e")
    assert made.with_suffix(".toml").read_text().startswith(f"# for {made.name}, built from net.onnx")


@pytest.mark.usefixtures("rtx")
def test_the_size_is_the_preprocessings_or_the_one_asked_for(tmp_path: Path) -> None:
    source = write(tmp_path / "net.onnx", Net(size=None))
    assert main(["build", source, "-o", str(tmp_path / "a.plan")]) == 0
    assert b"[1, 224, 224, 3]" in (tmp_path / "a.plan").read_bytes()
    assert main(["build", source, "-o", str(tmp_path / "b.plan"), "--size", "96"]) == 0
    assert b"[1, 96, 96, 3]" in (tmp_path / "b.plan").read_bytes()
    assert load_plan(tmp_path / "b.plan", (96, 96))[0].output_shape == (96, 96, 3)


@pytest.mark.usefixtures("rtx")
def test_files_that_exist_stay_unless_said_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "net.onnx")
    (tmp_path / "net.plan").write_text("by hand")
    assert main(["build", source, "-o", str(tmp_path / "net.plan")]) == 1
    assert "net.plan exists already" in capsys.readouterr().err
    assert (tmp_path / "net.plan").read_text() == "by hand"
    assert main(["build", source, "-o", str(tmp_path / "net.plan"), "--overwrite"]) == 0
    assert (tmp_path / "net.plan").read_bytes().startswith(b"vtrt")


@pytest.mark.usefixtures("rtx")
def test_warnings_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "net.onnx", Net(batch=2))
    assert main(["build", source, "-o", str(tmp_path / "net.plan")]) == 0
    said = capsys.readouterr().out
    assert "WARNING: the model has a fixed batch of 2" in said
    assert "batches of 2" in said


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("arguments", "complaint", "advice"),
    [
        (["-o", "net.trt"], "'net.trt' does not end in .plan", "ending"),
        (["-o", "none/net.plan"], "the folder 'none' does not exist", "make it"),
        (["-o", "net.plan", "--size", "4"], "--size 4: must lie between", ""),
        (["-o", "net.plan", "--size", "96"], "--size 96: the model takes 16x12 and nothing else", "leave"),
        (
            ["-o", "net.plan", "--opt-batch", "99"],
            "--opt-batch 99 and --max-batch 64",
            "leave --opt-batch out",
        ),
        (["-o", "net.plan", "--compute-capability", "9.0"], "9.0: not known", "8.9"),
        (["-o", "net.plan", "--flavour", "tensorrt"], "no TensorRT that can build", "tensorrt-cu13"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
    advice: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("net.onnx"))
    assert main(["build", "net.onnx", *arguments]) == 1
    first, _, rest = capsys.readouterr().err.partition("\n")
    assert first.startswith("beyond-models: ")
    assert complaint in first
    assert advice in rest
    assert names(tmp_path) == {"net.onnx"}


@pytest.mark.usefixtures("bare")
def test_without_tensorrt_it_says_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "net.onnx")
    assert main(["build", source, "-o", str(tmp_path / "net.plan")]) == 1
    said = capsys.readouterr().err
    assert "no TensorRT that can build this plan is installed" in said
    assert "pip install tensorrt-cu13" in said
    assert "pip install tensorrt-rtx-cu13" in said


@pytest.mark.usefixtures("rtx")
def test_only_onnx_is_built_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "null:", "-o", str(tmp_path / "net.plan")]) == 1
    assert "'null:' is no ONNX model" in capsys.readouterr().err


def test_no_output_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["build", "net.onnx"])
    assert caught.value.code == 2
    assert "--output" in capsys.readouterr().err


def test_ctrl_c_is_heard_and_leaves_nothing(rtx: FakeBuilderTrt, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    rtx.while_building = interrupt
    assert main(["build", write(tmp_path / "net.onnx"), "-o", str(tmp_path / "net.plan")]) == 130
    assert names(tmp_path) == {"net.onnx"}
