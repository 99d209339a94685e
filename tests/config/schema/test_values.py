"""Addresses and URLs."""

from pathlib import Path

import pytest

from gateway.config.schema.values import address, base_url, is_loopback, is_private
from gateway.net.listen_address import Address

HERE = Path("/etc/gateway")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::]:65535", Address("::", 65535)),
        ("[2001:db8::1]:80", Address("2001:db8::1", 80)),
        ("gateway.internal:80", Address("gateway.internal", 80)),
        ("unix:/run/gateway.sock", Address(path=Path("/run/gateway.sock"))),
        ("unix:gateway.sock", Address(path=HERE / "gateway.sock")),
    ],
)
def test_an_address_is_read(text: str, expected: Address) -> None:
    """An address is host and port, IPv6 in brackets, or a socket path relative to the given folder."""
    assert expected == address(text, HERE)


BAD_ADDRESSES = "127.0.0.1:65536 256.0.0.1:80 127.1:80 1:80 [::zz]:80 -a:80 a..-:80"


@pytest.mark.parametrize("text", BAD_ADDRESSES.split())
def test_what_is_no_address_is_refused(text: str) -> None:
    """What one resolver takes for an address and another for a name is neither."""
    with pytest.raises(ValueError, match=r"neither an address nor a name|at most 65535"):
        address(text, HERE)


def test_a_socket_path_that_the_system_cannot_hold_is_refused() -> None:
    """A path of more than 107 bytes would fail only when the socket is opened."""
    fits = address(f"unix:/{'a' * 106}", HERE)

    assert 107 == len(str(fits.path))
    with pytest.raises(ValueError, match="at most 107 bytes"):
        address(f"unix:/{'a' * 107}", HERE)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.0.9", "::1", "localhost", "LOCALHOST"])
def test_loopback_is_loopback(host: str) -> None:
    """These addresses are reachable from this machine only."""
    assert is_loopback(host)
    assert is_private(Address(host, 1))
    assert is_private(Address(path=Path("/run/gateway.sock")))


OPEN = ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.evil.test", "localhost.evil.test", "127.1", "", "0"]


@pytest.mark.parametrize("host", OPEN)
def test_everything_else_is_not(host: str) -> None:
    """A name that only looks like loopback, or an address of all interfaces, is reachable from elsewhere."""
    assert not is_loopback(host)
    assert not is_private(Address(host, 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://productlane.com/api/v2", "https://productlane.com/api/v2"),
        ("https://productlane.com/api/v2/", "https://productlane.com/api/v2"),
        ("https://productlane.com", "https://productlane.com"),
        ("https://Productlane.COM:443/api", "https://productlane.com:443/api"),
        ("http://127.0.0.1:8099/api/v2", "http://127.0.0.1:8099/api/v2"),
        ("http://[::1]:8099", "http://[::1]:8099"),
    ],
)
def test_a_base_url_has_no_last_slash(text: str, expected: str) -> None:
    """Targets start with a slash, so the base ends without one; host and port are kept."""
    assert expected == base_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "productlane.com",
        "//productlane.com",
        "https:///api",
        "ftp://productlane.com",
        "unix:/run/a",
        "http://productlane.com",
        "http://127.0.0.1.evil.test",
        "http://0.0.0.0:80",
        "https://user@productlane.com",
        "https://user:pw@productlane.com",
        "https://productlane.com?",
        "https://productlane.com/?a",
        "https://productlane.com/#",
        "https://productlane.com/a b",
        "https://productlane.com\\@evil.test",
        "https://productlane.com\n",
        "https://productlane.com:pw",
        "https://productlane.com:0",
        "https://productlane.com:99999",
        "https://[::zz]",
        "https://productlane.com/api/../v2",
        "https://productlane.com//v2",
        "https://productlane.com/%2e",
        "https://prodüctlane.com",
        "https://product_lane/%",
    ],
)
def test_a_url_that_could_lead_elsewhere_is_refused(text: str) -> None:
    """The base is a constant of the configuration: one host, plain segments, encrypted unless it is this machine."""
    with pytest.raises(ValueError, match=r"URL|http") as caught:
        base_url(text)

    assert "pw" not in str(caught.value)
