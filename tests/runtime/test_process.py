"""`gateway.runtime.process`: what other processes of the machine can find out about a running gateway."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.support.command import GATEWAY, ROOT, environment
from tests.support.recording import Upstream
from tests.support.sentinels import KEY
from tests.support.served import serving, started, write_config

# linux/ptrace.h and linux/prctl.h.
_SEIZE = 0x4206
_CAPBSET_DROP = 24
# A kernel module that forbids ptrace of any process but a child.
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope").exists()

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc and prctl are Linux'")

# Gives up, for good, the capabilities by which root may look into everything; then runs Python with these arguments.
PLAIN = f"""
import ctypes, os, sys
prctl = ctypes.CDLL(None).prctl
for capability in range(64):
    prctl({_CAPBSET_DROP}, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
# An attack on a process: read its variables and its memory, and trace it.
INTRUDER = f"""
import ctypes, os, sys
pid = sys.argv[1]
for name in ("environ", "mem", "maps", "auxv", "cwd"):
    try:
        path = f"/proc/{{pid}}/{{name}}"
        os.readlink(path) if name == "cwd" else open(path, "rb").read(1)
        print(name, "open")
    except OSError as error:
        print(name, "shut" if isinstance(error, PermissionError) else "open")
libc = ctypes.CDLL(None, use_errno=True)
print("ptrace", "open" if libc.ptrace({_SEIZE}, int(pid), None, None) == 0 else "shut")
"""


def intrude(pid: int) -> dict[str, str]:
    """What another process of this user, without root's capabilities, gets to see of a process."""
    command = [sys.executable, "-c", PLAIN, "-c", INTRUDER, str(pid)]
    tried = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return dict(line.split() for line in tried.stdout.splitlines())


def intrude_upon_another() -> dict[str, str]:
    """The same of a process that does nothing for its safety."""
    command = [sys.executable, "-c", PLAIN, "-c", "print(); input()"]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()  # from here on it is plain
        return intrude(other.pid)
    finally:
        other.communicate(b"\n", timeout=20)


async def test_a_serving_process_writes_no_core(tmp_path: Path, upstream: Upstream) -> None:
    """The limit on core files is 0, soft and hard, whatever it was before."""
    async with serving(tmp_path, upstream) as served:
        limits = await asyncio.to_thread(Path(f"/proc/{served.process.pid}/limits").read_text)

    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


async def test_a_neighbour_of_the_same_user_cannot_look_into_a_gateway(upstream: Upstream) -> None:
    """A key that came by a variable is out of reach of other processes of that user; of a plain process it is not."""
    environ = {"PRODUCTLANE_KEY": KEY, "PRODUCTLANE_SCOPES": "threads:read"}
    words = ("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", upstream.url)
    of_other = await asyncio.to_thread(intrude_upon_another)
    async with started(*words, cwd=ROOT, environ=environ, program=("-c", PLAIN, *GATEWAY)) as served:
        of_gateway = await asyncio.to_thread(intrude, served.process.pid)
        metrics = await served.ask_admin("/metrics")
        status = (await served.end()).status

    assert dict.fromkeys(("environ", "mem", "maps", "auxv", "cwd", "ptrace"), "shut") == of_gateway
    assert "open" == of_other["environ"]
    assert "open" == of_other["ptrace"] or YAMA
    assert b"process_open_fds" in metrics.body, "the process can still read what it tells of itself"
    assert (0, b"") == (status, bytes(served.err))


def test_a_platform_without_prctl_is_told_and_served() -> None:
    """If the kernel lacks the switch, the log says so, and the rest of the hardening applies."""
    program = (
        "import ctypes, resource\n"
        "class Bare:\n"
        "    def __init__(self, name): pass\n"
        "ctypes.CDLL = Bare\n"
        "from gateway.runtime.process import harden\n"
        "print(harden(), resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert "prctl(PR_SET_DUMPABLE): others of this user can read the memory" in ran.stdout
    assert "(0, 0)" in ran.stdout


@pytest.mark.parametrize(
    "raising",
    [
        "raise RuntimeError('pl_v2_text') from ValueError('pl_v2_cause')",
        "threading.Thread(target=lambda: 1 / int('pl_v2_text')).start()",
        "type('D', (), {'__del__': lambda self: int('pl_v2_text')})()",
        "try:\n    int('pl_v2_text')\nexcept ValueError:\n    raise KeyError('pl_v2_again')",
    ],
    ids=["cause", "thread", "destructor", "context"],
)
def test_an_uncaught_exception_is_told_without_its_text(raising: str) -> None:
    """An exception that ends a process or a thread is logged by its class and place."""
    # Not in the source, which Python 3.13 shows of `-c` too.
    program = "import sys, threading\nfrom gateway.runtime.process import harden\nharden()\nexec(sys.stdin.read())\n"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        input=raising,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "Traceback (most recent call last)" in ran.stderr
    assert re.search(r"\w+Error", ran.stderr)
    assert "pl_v2_" not in ran.stderr


def test_ctrl_c_at_start_is_no_fault() -> None:
    """Ctrl-C during a slow start prints no traceback."""
    program = "from gateway.runtime.process import harden\nharden()\nraise KeyboardInterrupt"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert "" == ran.stderr
    assert ran.returncode != 0


# A start that ends after all imports, since asyncio's debug mode is on; then what two contexts trust.
TRUST = """
import sys
from gateway.cli.serve.serve import serve
try:
    serve.main(["--config", sys.argv[1]], standalone_mode=False)
except SystemExit as end:
    print(end.code)
from aiohttp import connector
from gateway.net.client_tls import upstream_context
print(connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"], upstream_context(None).cert_store_stats()["x509"])
"""


def test_what_aiohttp_makes_for_itself_trusts_nobody(tmp_path: Path) -> None:
    """A TLS context of aiohttp's own would refuse every server; the gateway's trust the system's certificates."""
    system = tmp_path / "system.pem"
    trustme.CA().cert_pem.write_to_path(str(system))
    config = write_config(tmp_path, "http://127.0.0.1:1/api/v2")

    ran = subprocess.run(
        [sys.executable, "-c", TRUST, str(config)],
        env=environment(
            {"SSL_CERT_FILE": str(system), "SSL_CERT_DIR": "/nowhere", "PYTHONASYNCIODEBUG": "1"}, checked=False
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert ["2", "0 1"] == ran.stdout.splitlines()
