from __future__ import annotations

import pytest

from tests.scripts.machine import Machine


@pytest.fixture
def serving(machine: Machine) -> Machine:
    """A machine that is set up, whose server says its arguments."""
    machine.command("setup", "")
    (machine.path / "setup").replace(machine.root / "scripts" / "setup")
    bash = machine.path / "bash"
    machine.program(
        machine.root / ".venv" / "bin" / "beyond-serve", f'#!{bash}\nprintf "<%s>" "$@"\nexit 7\n'
    )
    return machine


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ([], "<--model><demo>"),
        (["--max-batch", "8"], "<--model><demo><--max-batch><8>"),
        (["--model", "a b.onnx"], "<--model><a b.onnx>"),
        (["--model=a.onnx", "--http", "[::1]:0"], "<--model=a.onnx><--http><[::1]:0>"),
        (["--config", "serve.toml"], "<--config><serve.toml>"),
        (["--help"], "<--help>"),
    ],
)
def test_arguments_go_to_the_server_with_the_demo_as_default(
    serving: Machine, given: list[str], passed_on: str
) -> None:
    done = serving.run("serve", *given)
    assert done.stdout == passed_on
    assert done.returncode == 7


def test_nothing_is_served_when_the_set_up_fails(serving: Machine) -> None:
    serving.program(serving.root / "scripts" / "setup", f"#!{serving.path}/bash\nexit 1\n")
    done = serving.run("serve")
    assert (done.returncode, done.stdout) == (1, "")
