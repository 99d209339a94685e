"""`gateway.cli.demo.simulate`: the simulated Productlane in its own process."""

import re
import signal
import socket
from pathlib import Path

import pytest
import trustme

from tests.support.command import Running, run, running, shell

PORTS = ("--port", "0", "--control-port", "0")


async def told(simulator: Running) -> dict[str, str]:
    """Everything printed up to the last line: the addresses, and the curl lines in order."""
    await simulator.line("/requests")
    text = simulator.out.decode()
    curls = re.findall(r"^ +(curl .*)$", text, re.MULTILINE)
    places = dict(re.findall(r"^  (API|control) +(\S+)$", text, re.MULTILINE))
    return {**places, **{str(n): line for n, line in enumerate(curls)}}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_runs_until_it_is_ended(tmp_path: Path, number: int) -> None:
    """Ctrl-C and SIGTERM end it with status 0 and without a trace."""
    async with running("simulate", *PORTS, cwd=tmp_path) as simulator:
        await told(simulator)
        done = await simulator.end(number)

    assert (0, "") == (done.status, done.err)


async def test_every_line_that_it_prints_works(tmp_path: Path) -> None:
    """The printed curl lines answer as the text around them says: two keys, a fault, a key taken back, the record."""
    async with running("simulate", *PORTS, cwd=tmp_path) as simulator:
        lines = await told(simulator)
        answers = [await shell(lines[str(n)]) for n in range(2)]
        fault = await shell(lines["2"])
        faulty, healthy = [await shell(lines["0"]) for _ in range(2)]
        revoked = await shell(lines["3"])
        refused = await shell(lines["1"])
        record = await shell(lines["4"])
        await simulator.end()

    assert all("HTTP/1.1 200 OK" in answer and '"scopes"' in answer for answer in answers)
    assert '"admin"' in answers[0]
    assert "threads:read" in answers[1]
    assert ":write" not in answers[1]
    assert '"status": 503' in fault
    assert ("HTTP/1.1 503", "HTTP/1.1 200") == (faulty[:12], healthy[:12])
    assert '"revoked": true' in revoked
    assert "HTTP/1.1 401" in refused
    assert '"/api/v2/me"' in record


async def test_keys_can_be_given(tmp_path: Path) -> None:
    """A given key has exactly the given scopes, beside a generated key."""
    words = ("--key", "pl_v2_for-tests-only=threads:read,contacts:read", "--scopes", "tags:read")
    async with running("simulate", *PORTS, *words, cwd=tmp_path) as simulator:
        lines = await told(simulator)
        given, made = [await shell(lines[str(n)]) for n in range(2)]
        await simulator.end()

    assert "pl_v2_for-tests-only" in lines["0"]
    assert '"scopes":["contacts:read","threads:read"]' in given
    assert '"scopes":["tags:read"]' in made


async def test_it_can_speak_tls(tmp_path: Path) -> None:
    """With a certificate it serves HTTPS, and the printed lines trust it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.private_key_pem.write_to_path(key)
    for pem in (*certificate.cert_chain_pems, authority.cert_pem):
        pem.write_to_path(chain, append=True)
    async with running("simulate", *PORTS, "--tls-cert", chain, "--tls-key", key, cwd=tmp_path) as simulator:
        lines = await told(simulator)
        answered = await shell(lines["0"])
        await simulator.end()

    assert lines["API"].startswith("https://")
    assert "HTTP/1.1 200 OK" in answered


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--key", "pl_v1_abcdefgh=threads:read"), "v1 key"),
        (("--key", "threads:read"), "KEY=SCOPE"),
        (("--key", "pl_v2_abcdefgh"), "there is no `=`"),
        (("--key", "pl_v2_abcdefgh=tags:read", "--key", "pl_v2_abcdefgh=threads:read"), "given twice"),
        (("--key", "pl_v2_abcdefgh=threads:raed"), 'did you mean "threads:read"?'),
        (("--scopes", "everything"), "everything"),
        (("--tls-cert", __file__), "go together"),
        (("--tls-cert", __file__, "--tls-key", __file__), "not a certificate chain"),
    ],
)
async def test_an_option_that_cannot_be_used_is_told(tmp_path: Path, words: tuple[str, ...], expected: str) -> None:
    """A wrong option is reported with status 2 before anything listens; the message does not repeat a key."""
    done = await run("simulate", *PORTS, *words, cwd=tmp_path)

    assert (2, "") == (done.status, done.out)
    assert expected in " ".join(done.err.split())
    assert "abcdefgh" not in done.err


@pytest.mark.parametrize("option", ["--port", "--control-port"])
async def test_a_port_that_is_taken_is_told(tmp_path: Path, option: str) -> None:
    """A port that another process uses is reported in one line, with status 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        done = await run("simulate", *PORTS, option, taken, cwd=tmp_path)

    assert (2, "", 1) == (done.status, done.out, len(done.err.splitlines()))
    assert taken in done.err
