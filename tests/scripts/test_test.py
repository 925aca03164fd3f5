"""scripts/test itself."""

from __future__ import annotations

import pytest

from tests.scripts.machine import Machine


@pytest.fixture
def checking(machine: Machine) -> Machine:
    """A machine that is set up, whose checkers say what they were asked and pass; mypy fails."""
    machine.program(machine.root / "scripts" / "setup", f"#!{machine.path}/bash\n")
    for tool, status in (("ruff", 0), ("shellcheck", 0), ("mypy", 1), ("lint-imports", 0), ("pytest", 0)):
        machine.program(
            machine.root / ".venv" / "bin" / tool, f'#!{machine.path}/bash\necho "{tool} $*"\nexit {status}\n'
        )
    return machine


def test_named_parts_run_and_no_others(checking: Machine) -> None:
    done = checking.run("test", "imports", "unit")
    assert done.returncode == 0, done.stderr
    assert "lint-imports" in done.stdout
    assert "pytest" in done.stdout
    assert "ruff" not in done.stdout


def test_every_part_runs_after_a_failure_which_is_named_at_the_end(checking: Machine) -> None:
    done = checking.run("test", "types", "unit")
    assert done.returncode == 1
    assert "pytest" in done.stdout
    assert "types    FAILED in" in done.stdout
    assert "unit     passed in" in done.stdout
    assert done.stdout.endswith("failed: types\n")


def test_what_follows_the_dashes_goes_to_pytest(checking: Machine) -> None:
    done = checking.run("test", "unit", "--", "-k", "a b", "tests/demo")
    assert "pytest -k a b tests/demo\n" in done.stdout


def test_long_runs_the_long_tests(checking: Machine) -> None:
    assert "pytest -m long\n" in checking.run("test", "long").stdout


def test_an_unknown_part_is_refused_with_those_there_are(checking: Machine) -> None:
    done = checking.run("test", "everything")
    assert done.returncode == 2
    assert 'unknown part "everything"' in done.stderr
    assert "lint types imports wheel unit long" in done.stderr


def test_help_lists_the_parts(checking: Machine) -> None:
    done = checking.run("test", "--help")
    assert done.returncode == 0
    assert "Parts: lint" in done.stdout
    assert "#" not in done.stdout
