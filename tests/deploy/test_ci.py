"""The full run ends in time and says what hung: `.ci/within`, and the clocks of the tests themselves."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.deploy_tools import ROOT, run

# In the first, a callback of the loop swallows the exception that the alarm of pytest-timeout raises. In the second, the
# test fails, and then its fixture waits for ever.
HANGING = {
    "a callback that swallows the alarm": """\
import asyncio, time
async def test_hangs():
    def spin():
        while True:
            try:
                time.sleep(100)
            except BaseException:
                pass
    asyncio.get_running_loop().call_soon(spin)
    await asyncio.Event().wait()
""",
    "a teardown after a failure": """\
import pytest, threading
@pytest.fixture
def never():
    yield
    threading.Event().wait()
def test_hangs(never):
    assert False
""",
}
OTHERS = "def test_before(): pass\n\n{hanging}\n\ndef test_after(): pass\n"


@pytest.mark.parametrize("how", HANGING)
def test_a_test_that_hangs_is_reported_and_the_others_run(how: str, tmp_path: Path) -> None:
    """The process of a hanging test prints its stacks and ends; the test has failed, and all others are run."""
    (tmp_path / "test_hanging.py").write_text(OTHERS.format(hanging=HANGING[how]))
    (tmp_path / "quick.py").write_text("import tests.conftest\ntests.conftest.TEARDOWN_SECONDS = 1\n")
    done = run(
        sys.executable, "-m", "pytest", "-n", "1", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider",
        "-p", "tests.conftest", "-p", "quick", "-o", "timeout=1", "-o", "faulthandler_timeout=3", tmp_path,
        check=False, timeout=60, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{tmp_path}"},
    )  # fmt: skip

    assert 1 == done.returncode, done.stdout
    assert re.search(r"FAILED \S+::test_hangs", done.stdout), done.stdout
    assert re.search(r"\d failed, 2 passed", done.stdout), done.stdout
    assert "in spin" in done.stderr or "in never" in done.stderr


def test_no_test_may_take_longer_than_its_process() -> None:
    """A test's own deadline, which names the line, comes before the one that ends the process."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    marks = [
        int(one)
        for path in (ROOT / "tests").rglob("test_*.py")
        for one in re.findall(r"mark\.timeout\((\d+)\)", path.read_text("utf-8"))
    ]

    assert settings["faulthandler_exit_on_timeout"] is True
    assert max(settings["timeout"], *marks) < settings["faulthandler_timeout"]


def test_no_test_waits_for_a_command_without_an_end() -> None:
    """Each command that a test runs to its end has a time-out of its own."""
    runs = {"subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output"}
    unbounded = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in runs
        and not {"timeout", None} & {one.arg for one in node.keywords}
    ]

    assert [] == unbounded


def test_a_step_that_hangs_ends_with_its_stacks(tmp_path: Path) -> None:
    """A step of the full run that does not end is ended, and its Python processes say where they waited."""
    script = tmp_path / "hangs.py"
    script.write_text("import threading\ndef waits():\n    threading.Event().wait()\nwaits()\n")
    done = run(ROOT / ".ci" / "within", "1", sys.executable, script, check=False, timeout=60)

    assert 124 == done.returncode
    assert "in waits" in done.stderr
    assert "did not end within 1 s" in done.stderr


def test_a_signal_ends_a_step_with_all_that_it_started() -> None:
    """Whoever ends the full run leaves nothing behind that runs on."""
    shell = "sleep 60 & echo started; wait"
    command = [str(ROOT / ".ci" / "within"), "60", "bash", "-c", shell]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as step:
        assert step.stdout is not None
        assert "started\n" == step.stdout.readline()
        step.terminate()
        # The pipe ends with the last process that holds it.
        assert "" == step.communicate(timeout=20)[0]

    assert step.returncode


@pytest.mark.parametrize("status", [0, 3, 137])
def test_a_step_that_ends_keeps_its_status(status: int) -> None:
    """A step that ends by itself is passed or failed as it says."""
    done = run(ROOT / ".ci" / "within", "30", "bash", "-c", f"exit {status}", check=False, timeout=60)

    assert (status, "") == (done.returncode, done.stderr)


def test_each_step_of_the_full_run_has_a_deadline() -> None:
    """The full run ends within 40 minutes, for each of its commands runs within what is left of them."""
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    commands = [line.strip() for line in lines if re.match(r"\s*(make|deploy/|\.ci/|time |step )", line)]

    assert "limit=2400" in lines
    assert ['time .ci/within $((limit - 30 - SECONDS)) "$@"'] == [
        one for one in commands if not one.startswith("step ")
    ]
    assert {"make test check COVERAGE=1", "make tools", ".ci/packages"} <= {
        one.removeprefix("step ") for one in commands
    }
