"""Flags, file and environment become one checked configuration, or one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.errors import ConfigError
from beyond_serve.server.cli import parse_command_line
from beyond_serve.server.config import Address, ServerConfig, build_config
from beyond_serve.server.options import OPTIONS


def config(*arguments: str, environ: dict[str, str] | None = None) -> ServerConfig:
    command = parse_command_line(arguments)
    return build_config(command.models, command.options, command.config, environ or {})


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "serve.toml"
    path.write_text(text)
    return str(path)


def test_a_model_alone_gets_every_default() -> None:
    served = config("--model", "vit.onnx")
    (model,) = served.models
    assert (model.name, model.source) == ("vit", "vit.onnx")
    assert (model.policy, model.max_batch, model.max_delay_us, model.instances) == ("fixed", 0, 0, 1)
    assert served.http == Address("127.0.0.1", 8000)
    assert served.grpc == Address("127.0.0.1", 8001)


def test_priority_levels_have_queues_of_their_own() -> None:
    levels = config("--model", "demo", "--priority-queues", "30, 20,10").models[0].levels
    assert (levels.count, levels.default, levels.places(99)) == (3, 2, (30, 20, 10))


def test_several_models_have_names() -> None:
    served = config("--model", "a=x/m.onnx", "--model", "b=y/m.onnx", "--max-batch", "8")
    assert [(m.name, m.source, m.max_batch) for m in served.models] == [
        ("a", "x/m.onnx", 8),
        ("b", "y/m.onnx", 8),
    ]


@pytest.mark.parametrize(
    ("source", "name"), [("demo", "demo"), ("null:", "null"), ("null:224", "null"), ("sim:t/vit.json", "vit")]
)
def test_engine_urls_have_names_too(source: str, name: str) -> None:
    assert config("--model", source).models[0].name == name


def test_the_file_has_the_flags_names_and_a_table_for_each_model(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        http = "0.0.0.0:9000"
        max-batch = 16
        drain_seconds = 5
        [models.vit]
        path = "vit.onnx"
        max-delay-us = 2000
        [models.small]
        path = "/abs/small.onnx"
        max-batch = 64
        """,
    )
    served = config("--config", file)
    assert served.http == Address("0.0.0.0", 9000)
    assert served.drain_seconds == 5.0
    vit, small = served.models
    assert (vit.source, vit.max_batch, vit.max_delay_us) == (str(tmp_path / "vit.onnx"), 16, 2000)
    assert (small.source, small.max_batch, small.max_delay_us) == ("/abs/small.onnx", 64, 0)


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'max-batch = 16\n[models.vit]\npath = "vit.onnx"\nmax-batch = 64\n')
    served = config("--config", file, "--max-batch", "8", "--model", "demo")
    assert [model.max_batch for model in served.models] == [8, 8]


def test_a_flag_set_to_its_default_still_wins(tmp_path: Path) -> None:
    file = write(tmp_path, 'max-batch = 16\n[models.vit]\npath = "vit.onnx"\n')
    assert config("--config", file, "--max-batch", "32").models[0].max_batch == 32


def test_the_token_can_come_from_the_environment() -> None:
    environ = {"BEYOND_SERVE_TOKEN": "secret"}
    assert config("--model", "demo", environ=environ).token == "secret"
    assert config("--model", "demo", "--token", "mine", environ=environ).token == "mine"


def test_addresses() -> None:
    served = config("--model", "demo", "--http", "[::1]:8080", "--grpc", "off")
    assert served.http == Address("::1", 8080)
    assert str(served.http) == "[::1]:8080"
    assert served.grpc is None


def test_every_model_option_can_stand_in_a_models_table(tmp_path: Path) -> None:
    lines = ['[models.m]\npath = "m.onnx"']
    for option in OPTIONS:
        if option.scope == "model":
            value = f'"{option.default}"' if option.kind is str else str(option.default).lower()
            lines.append(f"{option.name} = {value}")
    assert config("--config", write(tmp_path, "\n".join(lines))) == config(
        "--config", write(tmp_path, '[models.m]\npath = "m.onnx"')
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "no model"),
        (["--model", "=x.onnx"], "neither PATH nor NAME=PATH"),
        (["--model", "a="], "neither PATH nor NAME=PATH"),
        (["--model", "a=x.onnx", "--model", "a=y.onnx"], "two models are named 'a'"),
        (["--model", "a/b=x.onnx"], "cannot be a model's name"),
        (["--model", "demo", "--http", "8000"], "no HOST:PORT"),
        (["--model", "demo", "--http", "x:99999"], "no HOST:PORT"),
        (["--model", "demo", "--http", "off", "--grpc", "off"], "nothing to serve"),
        (["--model", "demo", "--max-batch", "-1"], "--max-batch must be at least 0"),
        (["--model", "demo", "--drain-seconds", "nan"], "--drain-seconds must be at least 0"),
        (["--model", "demo", "--weight", "0"], "--weight must be at least 0.001"),
        (["--model", "demo", "--priority-levels", "0"], "--priority-levels must be at least 1"),
        (["--model", "demo", "--priority-queues", "10,x"], "no list of numbers above 0"),
        (["--model", "demo", "--priority-queues", "10,0,5"], "no list of numbers above 0"),
        (["--model", "demo", "--priority-queues", "10,5"], "2 queue limits for 3 priority levels"),
        (["--model", "demo", "--ladder", "exact"], "needs two different rungs"),
        (["--model", "demo", "--ladder", "exact,model=other"], "'other', which is no other model here"),
        (["--model", "demo", "--tls-cert", "c.pem"], "only work together"),
        (["--config", "/nowhere/serve.toml"], "No such file"),
    ],
)
def test_wrong_flags_are_one_clear_line(arguments: list[str], named: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(*arguments)
    assert named in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("max-btach = 3", "unknown key 'max-btach'"),
        ("[models.m]\npath = 'm.onnx'\nhttp = 'x:1'", "unknown key 'http'"),
        ("[models.m]\npath = 'm.onnx'\nmax-batch = '3'", "must be int, not '3'"),
        ("[models.m]\npath = 'm.onnx'\nmax-batch = true", "must be int, not True"),
        ("[models.m]\npath = 'm.onnx'\nengine = 'tf'", "cannot be 'tf'"),
        ("[models.m]\nmax-batch = 3", "names no path"),
        ("models = 3", "must hold tables"),
        ("a = [", "not valid TOML"),
    ],
)
def test_wrong_files_are_one_clear_line(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as error:
        config("--config", write(tmp_path, text))
    assert named in error.value.message
    assert error.value.hint


def test_an_unknown_flag_ends_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        config("--model", "demo", "--max-btach", "3")
    assert ended.value.code == 2
    assert "--max-btach" in capsys.readouterr().err


def test_decoding_on_a_gpu_is_refused_and_not_ignored(tmp_path: Path) -> None:
    for arguments in (
        ("--model", "demo", "--decode", "gpu"),
        ("--config", write(tmp_path, '[models.vit]\npath = "vit.onnx"\ndecode = "gpu"')),
    ):
        with pytest.raises(ConfigError, match="GPU decoding is not built in this version") as refused:
            config(*arguments)
        assert refused.value.hint == "use cpu or auto"
    assert config("--model", "demo", "--decode", "cpu").models[0].decode == "cpu"


def test_several_devices_and_trust_stand_in_the_file_too(tmp_path: Path) -> None:
    file = write(tmp_path, '[models.a]\npath = "a.plan"\ndevice = "cuda:0,cuda:1"\ntrust-plan = true')
    (model,) = config("--config", file).models
    assert (model.device, model.trust_plan) == ("cuda:0,cuda:1", True)
    assert not config("--config", file, "--no-trust-plan").models[0].trust_plan
    with pytest.raises(ConfigError, match="names cuda:1 twice"):
        config("--config", write(tmp_path, '[models.a]\npath = "a.plan"\ndevice = "cuda:1,cuda:1"'))
