"""`gateway.core.secret`: what counts as a key, and that one never shows itself."""

import copy
import json
import pickle
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.secret import BadSecret, HeldSecrets, Secret

TEXT = "pl_v2_abcdSECRETpart"
# printf 'productlane-gateway fingerprint v1' | openssl dgst -sha256 -hmac pl_v2_abcdSECRETpart
FINGERPRINT = "594616a65673833579dc67c7894d1f17449d1eaf509dd5c02f3f467bbfb75064"
SHOWN = "Secret(pl_v2_abcd…)"

_KEY_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~+/-"


@dataclass(frozen=True, slots=True)
class Holder:
    key: Secret


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(TEXT)),
        str(Secret(TEXT)),
        f"{Secret(TEXT)}",
        "%s" % Secret(TEXT),  # noqa: UP031 - as `logging` does it
        "%r" % [Secret(TEXT)],
        str({Secret(TEXT): 1}),
        repr(Holder(Secret(TEXT))),
        repr(ValueError(Secret(TEXT))),
    ],
)
def test_a_key_is_never_printed(shown: str) -> None:
    """However a key is printed, logged or put into another text, only the dashboard's preview of it can be read."""
    assert SHOWN in shown
    assert "SECRET" not in shown


def test_the_preview_is_what_the_dashboard_shows() -> None:
    """The preview is the four characters that Productlane's dashboard shows."""
    assert "abcd" == Secret(TEXT).preview


def test_a_key_has_no_attribute_that_a_dump_of_objects_would_show() -> None:
    """`vars()`, which crash reporters use, finds nothing in a key."""
    with pytest.raises(TypeError):
        vars(Secret(TEXT))


@pytest.mark.parametrize("serialise", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, lambda s: asdict(Holder(s))])
def test_a_key_is_never_serialised(serialise: object) -> None:
    """No cache, queue or copy of a whole configuration can carry a key out of the process."""
    assert callable(serialise)
    with pytest.raises(TypeError) as caught:
        serialise(Secret(TEXT))

    assert "SECRET" not in str(caught.value)


def test_keys_are_equal_by_their_text_only() -> None:
    """Two secrets with the same text are equal; a plain text is never equal to a secret."""
    other = Secret(TEXT + "x")

    assert Secret(TEXT) == Secret(TEXT)
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))
    assert Secret(TEXT) != other
    assert Secret(TEXT) != TEXT
    assert {Secret(TEXT): "found"}[Secret(TEXT)] == "found"


def test_the_fingerprint_names_a_key_without_telling_it() -> None:
    """The name of a store entry is the same in every replica and release, and contains nothing of the key."""
    fingerprint = Secret(TEXT).fingerprint

    assert FINGERPRINT == fingerprint
    assert "abcd" not in fingerprint
    assert fingerprint != Secret(TEXT + "x").fingerprint


def test_a_v1_key_is_named_as_one_with_what_to_do() -> None:
    """The message about a v1 key says so, says where to make a v2 key, and does not contain the key."""
    with pytest.raises(BadSecret) as caught:
        Secret("pl_v1_abcdSECRETpart")

    assert "is a v1 key" in str(caught.value)
    assert "create a v2 key in Productlane" in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "\n", "\t \r\n"])
def test_an_empty_key_is_called_empty(text: str) -> None:
    """An empty secret file is reported as empty, not as malformed."""
    with pytest.raises(BadSecret, match="is empty"):
        Secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "pl_v2_",
        "pl_v2_1234567",
        "pl_v2_" + "a" * 513,
        "PL_V2_abcd1234",
        "pl_v3_abcd1234",
        " pl_v2_abcd1234",
        "pl_v2_abcd1234\n",
        "pl_v2_abcd1234\r\nX-Evil: 1",
        "pl_v2_abcd 1234",
        "pl_v2_abcd\x001234",
        "pl_v2_abcdé1234",
        "pl_v2_abcd\uff111234",
        "pl_v2_=abcd1234",
        "pl_v2_abcd=1234",
        "pl_v2_========",
        "Bearer pl_v2_abcd1234",
        '"pl_v2_abcd1234"',
    ],
)
def test_what_could_not_stand_after_bearer_is_no_key(text: str) -> None:
    """Line breaks, spaces, quotes, other prefixes and other lengths are refused, and not repeated in the message."""
    with pytest.raises(BadSecret, match="is not a v2 key") as caught:
        Secret(text)

    assert "abcd" not in str(caught.value)
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize("text", ["pl_v2_12345678", "pl_v2_" + "a" * 512, "pl_v2_abcd1234==", "pl_v2_a.b_c~d+e/f-g"])
def test_every_text_of_the_bearer_syntax_is_taken_whole(text: str) -> None:
    """Any key in the syntax of RFC 6750 section 2.1 is revealed exactly as it was given."""
    assert text == Secret(text).reveal()


@given(st.text(_KEY_CHARACTERS, min_size=8, max_size=40), st.characters(exclude_characters=_KEY_CHARACTERS + "="))
def test_one_foreign_character_anywhere_spoils_a_key(body: str, foreign: str) -> None:
    """A character outside the bearer syntax is refused at any place in a key."""
    for place in (0, len(body) // 2, len(body)):
        with pytest.raises(BadSecret):
            Secret(f"pl_v2_{body[:place]}{foreign}{body[place:]}")


@given(pieces=st.lists(st.sampled_from([TEXT, TEXT[:7], TEXT[7:], TEXT[:-1], "p", "pl_v2_", "x", ""]), max_size=12))
def test_a_mask_hides_a_secret_however_it_is_cut(pieces: list[str]) -> None:
    """A body in pieces comes out as it went in, as long as it was, with its preview in place of the secret."""
    mask = HeldSecrets((Secret(TEXT), OTHER)).mask()
    whole = "".join(pieces).encode()
    masked = b"".join([mask.feed(piece.encode()) for piece in pieces] + [mask.rest()])

    assert whole.replace(TEXT.encode(), b"pl_v2_abcd**********") == masked
    assert len(whole) == len(masked)


def test_a_mask_keeps_back_no_more_than_it_must() -> None:
    """Only an end that may be the beginning of the secret waits for what follows it."""
    mask = HeldSecrets((Secret(TEXT), OTHER)).mask()

    assert b"a whole line\n" == mask.feed(b"a whole line\n")
    assert b"to the " == mask.feed(b"to the pl_v2")
    assert b"pl_v2 end" == mask.feed(b" end")
    assert b"" == mask.rest()


OTHER = Secret("pl_v2_zyxwOTHERpart")
HELD = HeldSecrets((Secret(TEXT), OTHER, Secret(TEXT + "-and-more")))


@given(pieces=st.lists(st.sampled_from([TEXT, "pl_v2_zyxwOTHERpart", "pl_v2_zyxw", "OTHERpart", "-and-more", "x"])))
def test_every_held_secret_is_hidden(pieces: list[str]) -> None:
    """For any split into pieces, the output contains no secret and has the same length."""
    mask, whole = HELD.mask(), "".join(pieces).encode()
    masked = b"".join([mask.feed(piece.encode()) for piece in pieces] + [mask.rest()])

    assert len(whole) == len(masked)
    assert [] == [
        text for text in (TEXT.encode(), b"pl_v2_zyxwOTHERpart") if text in masked or text in HELD.hide(whole)
    ]


def test_a_field_whose_name_is_a_secret_is_dropped() -> None:
    """A secret in a value is masked, and a field with one in its name is dropped, in any letter case."""
    lines = [b"a: b", f"x-{TEXT.lower()}: 1".encode(), f"x: y{TEXT}".encode(), f"{TEXT}-z: 1".encode()]

    assert b"a: b\r\nx: ypl_v2_abcd" + b"*" * (len(TEXT) - 10) == HELD.redact_lines(lines)
    assert lines[0] == HELD.redact_lines(lines[:1])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": [1, None, {"b": f"x{TEXT}y"}]}, True),
        ({"a": {f"x-{TEXT}": 1}}, True),
        (["pl_v2_abcd", {"pl_v2_": "pl_v2_zyxw"}], False),
        (7, False),
    ],
)
def test_decoded_values_are_looked_through(value: object, found: bool) -> None:
    """A secret is found in any name or value of a JSON document; a preview is not a secret."""
    assert found is HELD.occur_in(value)


def test_a_secret_that_is_held_no_more_is_hidden_where_it_is_named() -> None:
    """A request that still uses a removed secret does not show it."""
    held = HeldSecrets((OTHER,))

    assert TEXT.encode() == held.hide(TEXT.encode())
    assert TEXT.encode() not in held.including(Secret(TEXT)).hide(TEXT.encode())
    assert held is held.including(OTHER)
