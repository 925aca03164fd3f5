from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from beyond_serve.demo.location import DEMO_MODEL
from beyond_serve.engines import foreign
from beyond_serve.engines.foreign import one_line, require
from beyond_serve.engines.load import EngineConfig, load_engine
from beyond_serve.errors import ModelLoadError
from beyond_serve.preprocess.plan import Normalization
from tests.engines.models import write


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EngineConfig("x.onnx", engine="caffe"), "unknown engine 'caffe'"),
        (EngineConfig("x.onnx", precision="fp8"), "unknown precision 'fp8'"),
        (EngineConfig("x.onnx", device="tpu"), "unknown device 'tpu'"),
        (EngineConfig("x.onnx", instances=0), "instances is 0"),
        (EngineConfig("x.onnx", max_batch=0), "max_batch is 0"),
        (EngineConfig("x.onnx", threads=-1), "threads is -1"),
        (EngineConfig("x.onnx"), "'x.onnx' does not exist"),
        (EngineConfig("x.plan"), "'x.plan' does not exist"),
        (EngineConfig(str(DEMO_MODEL), engine="torch"), "torch cannot run the ONNX file"),
        (EngineConfig(str(DEMO_MODEL), engine="openvino", device="cuda:0"), "does not run on cuda:0"),
        (EngineConfig("null:abc"), "is no null engine"),
        (EngineConfig("sim:absent.json"), "cannot read the table"),
    ],
)
def test_what_cannot_be_loaded_is_refused(config: EngineConfig, message: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        load_engine(config)
    assert message in caught.value.message
    assert caught.value.hint


def test_a_missing_package_is_named_with_its_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "net.onnx")
    real = importlib.import_module

    def without(name: str) -> ModuleType:
        if name.partition(".")[0] == "openvino":
            raise ModuleNotFoundError("No module named 'openvino'", name="openvino")
        return real(name)

    monkeypatch.setattr(foreign.importlib, "import_module", without)
    with pytest.raises(ModelLoadError, match="openvino is not installed") as caught:
        load_engine(EngineConfig(source, engine="openvino"))
    assert caught.value.hint == "pip install openvino"


def test_a_broken_package_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(foreign.importlib, "import_module", broken)
    with pytest.raises(ModelLoadError, match=r"cannot be imported: libtbb\.so"):
        require("openvino")


def test_foreign_errors_fit_one_line() -> None:
    text = "Exception from src/core.cpp:84:\nCheck 'false' failed at src/x.cpp:1:\nIt is\n  broken\n\n"
    assert one_line(RuntimeError(text)) == "It is broken"
    assert one_line(RuntimeError("")) == "RuntimeError"
    assert len(one_line(RuntimeError("x" * 1000))) == 300


def test_a_configuration_crosses_processes() -> None:
    config = EngineConfig("a.onnx", image_size=(2, 3), normalization=Normalization())
    assert pickle.loads(pickle.dumps(config)) == config


def test_no_runtime_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, beyond_serve.engines.load; "
        "print([name for name in ('openvino', 'onnxruntime', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
