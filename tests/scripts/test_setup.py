from __future__ import annotations

import pytest

from tests.scripts.machine import Machine


def test_the_first_run_installs_and_the_second_does_nothing(machine: Machine) -> None:
    first = machine.run("setup", "serve")
    assert first.returncode == 0, first.stderr
    assert len(machine.pip_calls()) == 1
    assert machine.pip_calls()[0].endswith(f"-e {machine.root}")
    second = machine.run("setup", "serve")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(machine.pip_calls()) == 1


def test_an_environment_for_tests_serves_too_but_not_the_other_way_round(machine: Machine) -> None:
    machine.run("setup", "serve")
    machine.run("setup", "test")
    assert machine.pip_calls()[1].endswith("[test,demo]")
    machine.run("setup", "serve")
    machine.run("setup", "demo")
    assert len(machine.pip_calls()) == 2


@pytest.mark.parametrize("changed", ["pyproject.toml", "setup.py", "beyond_serve/preprocess/native/jpeg.cpp"])
def test_a_change_of_what_is_built_installs_again(machine: Machine, changed: str) -> None:
    machine.run("setup")
    path = machine.root / changed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("changed")
    machine.run("setup")
    assert len(machine.pip_calls()) == 2


def test_a_change_of_python_code_installs_nothing(machine: Machine) -> None:
    machine.run("setup")
    (machine.root / "beyond_serve" / "new.py").touch()
    machine.run("setup")
    assert len(machine.pip_calls()) == 1


def test_a_failed_install_is_tried_again(machine: Machine) -> None:
    (machine.switches / "pip-says").write_text("ERROR: no such package\n")
    failed = machine.run("setup")
    assert failed.returncode == 1
    assert "pip failed: ERROR: no such package" in failed.stderr
    (machine.switches / "pip-says").unlink()
    assert machine.run("setup").returncode == 0
    assert len(machine.pip_calls()) == 2


def test_no_network_is_told_as_that(machine: Machine) -> None:
    (machine.switches / "pip-says").write_text(
        "WARNING: Retrying after 'NewConnectionError(...)'\nERROR: No matching distribution\n"
    )
    failed = machine.run("setup")
    assert failed.returncode == 1
    assert "pip reaches no package index" in failed.stderr


def test_an_old_python_is_refused_with_its_version(machine: Machine) -> None:
    (machine.switches / "old-python").touch()
    failed = machine.run("setup")
    assert failed.returncode == 1
    assert "no Python >= 3.11 found (Python 3.9.2)" in failed.stderr
    assert machine.pip_calls() == []


def test_a_named_python_must_be_one(machine: Machine) -> None:
    failed = machine.run("setup", PYTHON="/nowhere/python")
    assert failed.returncode == 1
    assert "PYTHON=/nowhere/python is no Python >= 3.11" in failed.stderr


def test_nothing_is_asked_of_apt_when_nothing_is_missing(machine: Machine) -> None:
    machine.command("apt-get", f'touch "{machine.switches}/apt-ran"')
    assert machine.run("setup").returncode == 0
    assert not (machine.switches / "apt-ran").exists()


def test_what_is_missing_is_installed_by_apt(machine: Machine) -> None:
    (machine.path / "nasm").unlink()
    (machine.switches / "no-venv").touch()
    machine.command("apt-get", 'echo "$*" >>"$MACHINE/apt-calls"')
    done = machine.run("setup")
    assert done.returncode == 0, done.stderr
    update, install = (machine.switches / "apt-calls").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith("--no-install-recommends python3.11-venv nasm")


def test_missing_headers_of_python_are_seen(machine: Machine) -> None:
    (machine.switches / "Python.h").unlink()
    machine.command("apt-get", 'echo "$*" >>"$MACHINE/apt-calls"')
    machine.run("setup")
    assert (machine.switches / "apt-calls").read_text().endswith("python3.11-dev\n")


def test_without_root_and_sudo_the_command_to_run_is_told(machine: Machine) -> None:
    (machine.path / "nasm").unlink()
    machine.command("apt-get", "exit 1")
    machine.command("id", "echo 1000")
    failed = machine.run("setup")
    assert failed.returncode == 1
    assert "as root: apt-get update && apt-get install nasm" in failed.stderr


def test_without_root_sudo_is_used(machine: Machine) -> None:
    (machine.path / "nasm").unlink()
    machine.command("apt-get", "")
    machine.command("id", "echo 1000")
    machine.command("sudo", 'echo "$1" >>"$MACHINE/sudo-calls"; "$@"')
    assert machine.run("setup").returncode == 0
    assert (machine.switches / "sudo-calls").read_text() == "apt-get\nenv\n"


def test_a_failure_of_apt_is_told_in_its_words(machine: Machine) -> None:
    (machine.path / "nasm").unlink()
    machine.command("apt-get", 'echo "E: Unable to locate package nasm"; exit 100')
    failed = machine.run("setup")
    assert failed.returncode == 1
    assert "apt-get could not install nasm: E: Unable to locate package nasm" in failed.stderr


def test_without_apt_the_packages_are_named(machine: Machine) -> None:
    (machine.path / "nasm").unlink()
    failed = machine.run("setup")
    assert failed.returncode == 1
    assert "missing system packages: nasm" in failed.stderr


def test_a_missing_demo_model_is_made(machine: Machine) -> None:
    (machine.root / "beyond_serve" / "demo" / "digits.onnx").unlink()
    machine.program(
        machine.root / ".venv" / "bin" / "beyond-models",
        f'#!{machine.path}/bash\necho "$*" >>"$MACHINE/made"\n',
    )
    machine.program(machine.root / ".venv" / "bin" / "python", (machine.path / "python3").read_text())
    (machine.root / ".venv" / "pyvenv.cfg").write_text("version = 3.11.2\n")
    done = machine.run("setup", "serve")
    assert done.returncode == 0, done.stderr
    assert (machine.switches / "made").read_text() == "demo\n"
    assert machine.pip_calls()[-1].endswith("[demo]")


def test_an_unknown_profile_is_refused(machine: Machine) -> None:
    failed = machine.run("setup", "everything")
    assert failed.returncode == 1
    assert "unknown profile 'everything'" in failed.stderr
