"""What .pt2 files say of themselves, read without PyTorch; what is said of files that are something else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.torch.describe import read_facts, read_pt2
from beyond_serve.engines.torch.facts import METADATA_KEY, built_from_json
from beyond_serve.errors import ModelLoadError
from tests.engines.torch.archives import (
    CODE,
    LEAF,
    built,
    compiled,
    exported,
    our_own,
    program,
    tensor,
    tree,
    write,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pt2"


def test_our_metadata_survives() -> None:
    for one in (built(), built(capability=None, device="cpu", probabilities=("logits",), normalises=False)):
        assert built_from_json(one.to_json()) == one


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 2}', "null"])
def test_other_metadata_is_refused(text: str, path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"metadata|JSON|Expecting"):
        read_pt2(compiled(path, {METADATA_KEY: text}))


def test_our_compiled_package(path: Path) -> None:
    facts = read_pt2(our_own(path))
    assert facts.kind == "aoti"
    assert facts.graph.inputs == (TensorSpec("pixels", "UINT8", (-1, 12, 16, 3)),)
    assert facts.graph.outputs == (TensorSpec("logits", "FP32", (-1, 5)),)
    assert (facts.precision, facts.device, facts.capability) == ("bf16", "cuda", (9, 0))
    assert (facts.max_batch, facts.torch, facts.described) == (8, "2.11.0", False)
    assert describe_model(str(path)).image_size == (12, 16)


def test_a_package_of_others_is_described_beside_it(path: Path) -> None:
    metadata = {
        "AOTI_DEVICE_KEY": "cuda", "AOTI_COMPUTE_CAPABILITY": "120", "AOTI_PLATFORM": "linux",
        "AOTI_MACHINE": "x86_64", "AOTI_CPU_ISA": "AVX512 AVX512_VNNI AMX_TILE",
    }  # fmt: skip
    compiled(path, metadata)
    path.with_suffix(".toml").write_text(
        "[pt2]\ninput = [-1, 3, 12, 16]\noutputs = {a = [-1, 5], b = [-1, 2, 2]}\nmax_batch = 4\n"
    )
    facts = read_pt2(path)
    assert facts.graph.inputs == (TensorSpec("input", "FP32", (-1, 3, 12, 16)),)
    assert facts.graph.outputs == (TensorSpec("a", "FP32", (-1, 5)), TensorSpec("b", "FP32", (-1, 2, 2)))
    assert (facts.precision, facts.max_batch, facts.capability) == ("mixed", 4, (12, 0))
    assert (facts.platform, facts.cpu_flags) == (("linux", "x86_64"), ("avx512f", "avx512_vnni", "amx_tile"))
    assert facts.described
    assert not facts.needs_torch_operators


def test_a_package_of_others_alone_says_what_to_write(path: Path) -> None:
    compiled(path, {})
    for text in (None, 'labels = ["a"]\n'):
        if text is not None:
            path.with_suffix(".toml").write_text(text)
        with pytest.raises(ModelLoadError, match="does not say what its inputs") as caught:
            read_facts(path)
        assert "write into net.toml: [pt2] input = " in str(caught.value.hint)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("outputs = {a = [-1, 5]}", "input = None must be a shape"),
        ("input = [-1, 3, 0, 8]\noutputs = {a = [-1, 5]}", "input = .* must be a shape"),
        ("input = [-1, 3, 8, 8]", "outputs must name at least one"),
        ("input = [-1, 3, 8, 8]\noutputs = {a = 5}", "outputs.a = 5 must be a shape"),
        (
            "input = [-1, 3, 8, 8]\noutputs = {a = [-1, 5]}\ndatatype = 'BF16'",
            "datatype = 'BF16' is not known",
        ),
        ("input = [-1, 3, 8, 8]\noutputs = {a = [-1, 5]}\nprecision = 'tf32'", "precision = 'tf32'"),
        ("input = [-1, 3, 8, 8]\noutputs = {a = [-1, 5]}\nmax_batch = 0", "max_batch = 0 must be"),
        ("size = 3", "unknown key 'size'"),
    ],
)
def test_a_wrong_table(table: str, complaint: str, path: Path) -> None:
    compiled(path, {})
    path.with_suffix(".toml").write_text(f"[pt2]\n{table}\n")
    with pytest.raises(ModelLoadError, match=complaint):
        read_facts(path)


def test_operators_that_need_torch_are_seen(path: Path) -> None:
    text = "[pt2]\ninput = [-1, 3, 8, 8]\noutputs = {a = [-1, 5]}\n"
    path.with_suffix(".toml").write_text(text)
    assert read_pt2(compiled(path, {}, **{CODE + "c1.wrapper.json": "[]"})).needs_torch_operators


def test_weights_apart_from_the_code_are_refused(path: Path) -> None:
    with pytest.raises(ModelLoadError, match="weights apart"):
        read_pt2(compiled(path, {}, **{CODE + "weights_config.json": "{}"}))


def test_an_exported_program(path: Path) -> None:
    facts = read_pt2(exported(path))
    assert facts.kind == "export"
    assert facts.graph.inputs == (TensorSpec("pixels", "FP32", (-1, 3, 12, 16)),)
    assert facts.graph.outputs == (TensorSpec("probabilities", "FP32", (-1, 5)),)
    assert facts.graph.probabilities == {"probabilities"}
    assert (facts.precision, facts.device, facts.max_batch) == ("bf16", "cpu", 8)
    assert (facts.torch, facts.keyword) == ("2.13.0", None)


def test_an_exported_program_of_ours(path: Path) -> None:
    extra = {f"extra/{METADATA_KEY}": built(device="cpu", capability=None, max_batch=3).to_json()}
    facts = read_pt2(exported(path, None, **extra))
    assert facts.graph.inputs[0].datatype == "UINT8"
    assert (facts.kind, facts.max_batch, facts.graph.probabilities) == ("export", 3, frozenset())


def test_where_weights_lie_and_what_is_fixed(path: Path) -> None:
    values = {
        "p_w": tensor(7, (3, 5), "cuda"),
        "pixels": tensor(6, (4, 3, 12, 16), "cuda"),
        "to": tensor(6, (4, 5), "cuda"),
    }
    facts = read_pt2(exported(path, program(values=values, nodes=[], ranges={})))
    assert (facts.device, facts.precision, facts.max_batch) == ("cuda", "fp32", None)
    assert facts.graph.inputs == (TensorSpec("pixels", "FP16", (4, 3, 12, 16)),)
    assert describe_model(str(path)).batch == 4


def test_no_limit_is_no_limit(path: Path) -> None:
    for ranges in ({}, {"s1": {"min_val": 0, "max_val": None}}, {"s1": {"min_val": 0, "max_val": 2**62}}):
        assert read_pt2(exported(path, program(ranges=ranges))).max_batch is None


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (LEAF, ["output0"]),
        (tree("tuple", None, LEAF), ["output0"]),
        (tree("transformers.ImageClassifierOutput", ["logits"], LEAF), ["logits"]),
        (tree("dict", ["a"], tree("tuple", None, LEAF)), ["output0"]),
        (tree("dict", ["a", "b"], LEAF), ["output0"]),
    ],
)
def test_names_of_outputs(spec: dict[str, object], names: list[str], path: Path) -> None:
    call = {
        **program()["graph_module"]["module_call_graph"][0]["signature"],
        "out_spec": json.dumps([1, spec]),
    }
    outputs = read_facts(exported(path, program(call=call))).outputs
    assert [spec.name for spec in outputs] == names


def test_an_input_by_keyword(path: Path) -> None:
    kept = program()["graph_module"]["module_call_graph"][0]["signature"]
    by_name = tree("tuple", None, tree("tuple", None), tree("dict", ["pixel_values"], LEAF))
    call = {**kept, "in_spec": json.dumps([1, by_name])}
    assert read_pt2(exported(path, program(call=call))).keyword == "pixel_values"


def test_two_inputs_are_refused_by_name(path: Path) -> None:
    inputs = [{"user_input": {"arg": {"as_tensor": {"name": name}}}} for name in ("pixels", "to")]
    exported(path, program(inputs=inputs))
    with pytest.raises(ModelLoadError, match=r"has 2 inputs \('pixels', 'to'\)"):
        describe_model(str(path))


@pytest.mark.parametrize(
    "content", [[], {}, {"graph_module": {}}, {"graph_module": None, "schema_version": {"major": 9}}]
)
def test_a_program_of_another_schema(content: object, path: Path) -> None:
    write(path, {"models/model.json": json.dumps(content)})
    with pytest.raises(ModelLoadError, match=r"cannot be read here|is no JSON object"):
        read_pt2(path)


@pytest.mark.parametrize(
    ("names", "complaint", "hint"),
    [
        (["data.pkl", "data/0", "version"], "is a checkpoint", "torch.export.save"),
        (["data.pkl", "code/__torch__/net.py", "constants.pkl"], "TorchScript", "torch.export.save"),
        (["serialized_exported_program.json", "version"], "older than 2.9", "export it again"),
        (["models/encoder.json", "archive_format"], "several models", "one model into one file"),
        (["data/aotinductor/decoder/c1.wrapper.so"], "several models", "one model into one file"),
        (["readme.txt"], "without a PyTorch model", "torch.export.save"),
    ],
)
def test_archives_of_something_else(names: list[str], complaint: str, hint: str, path: Path) -> None:
    write(path, dict.fromkeys(names, b"x"))
    with pytest.raises(ModelLoadError, match=complaint) as caught:
        read_pt2(path)
    assert hint in str(caught.value.hint)


def test_an_empty_archive(path: Path) -> None:
    write(path, {})
    with pytest.raises(ModelLoadError, match="without a PyTorch model"):
        read_pt2(path)


def test_a_truncated_archive(path: Path) -> None:
    whole = our_own(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelLoadError, match="is truncated"):
        read_pt2(path)


def test_what_is_no_archive(path: Path) -> None:
    path.write_bytes(b"\x89PNG and more")
    with pytest.raises(ModelLoadError, match="is no PyTorch archive"):
        read_pt2(path)
    path.write_bytes(b"\x80\x02\x8a\x0al\xfc\x9c")
    with pytest.raises(ModelLoadError, match="is a checkpoint"):
        read_pt2(path)


def test_damage_inside(path: Path) -> None:
    whole = exported(path).read_bytes()
    with zipfile.ZipFile(path) as file:
        start = file.getinfo("net/models/model.json").header_offset + 60
    path.write_bytes(whole[:start] + b"#" + whole[start + 1 :])
    with pytest.raises(ModelLoadError, match="is damaged"):
        read_pt2(path)
    write(path, {"models/model.json": "{"})
    with pytest.raises(ModelLoadError, match="is no JSON"):
        read_pt2(path)
