"""`gateway.callers.signatures`: only tokens signed by a key of the issuer are accepted."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from gateway.callers.signatures import BadToken, NoKeys, key_id, read_keys, verified
from tests.support.issuer import Signer, claims_of, key_set

ISSUER = "https://kubernetes.default.svc"
EC = Signer("ec")
RSA = Signer("rsa", "RS256")
STRANGER = Signer("ec")
KEYS = read_keys(key_set(EC, RSA))
CLAIMS = claims_of(ISSUER)
PEM = RSA.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], signature: str = "") -> str:
    return f"{part(header)}.{part(CLAIMS)}.{signature}"


def hmac_signed(secret: bytes, kid: str = "rsa") -> str:
    body = f"{part({'alg': 'HS256', 'kid': kid})}.{part(CLAIMS)}"
    return f"{body}.{part(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"


def swapped(token: str, **claims: Any) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{part({**CLAIMS, **claims})}.{signature}"


FORGED = {
    "none": unsigned({"alg": "none", "kid": "ec"}),
    "none, with a signature": unsigned({"alg": "none", "kid": "ec"}, EC.sign(CLAIMS).split(".")[2]),
    "None": unsigned({"alg": "None", "kid": "ec"}),
    "no algorithm": unsigned({"kid": "ec"}, "AAAA"),
    "an empty algorithm": unsigned({"alg": "", "kid": "ec"}, "AAAA"),
    "a list of algorithms": unsigned({"alg": ["none", "ES256"], "kid": "ec"}, "AAAA"),
    "HS256 with the public key as PEM": hmac_signed(PEM),
    "HS256 with the public key as PEM, stripped": hmac_signed(PEM.strip()),
    "HS256 with the JWK": hmac_signed(json.dumps(RSA.jwk).encode()),
    "HS256 with nothing": hmac_signed(b""),
    "another key of the same name": STRANGER.sign(CLAIMS),
    "another key of the issuer's": EC.sign(CLAIMS, kid="rsa"),
    "the other algorithm of an RSA key": jwt.encode(CLAIMS, RSA.key, "PS256", {"kid": "rsa"}),
    "a longer RSA hash": jwt.encode(CLAIMS, RSA.key, "RS512", {"kid": "rsa"}),
    "the key that it brings along": STRANGER.sign(CLAIMS, jwk=STRANGER.jwk),
    "the address of its key": STRANGER.sign(CLAIMS, jku="https://evil.test/jwks"),
    "the address of its certificate": STRANGER.sign(CLAIMS, x5u="https://evil.test/x5u"),
    "its certificate": STRANGER.sign(CLAIMS, x5c=["AAAA"]),
    "a critical extension": EC.sign(CLAIMS, crit=["exp"], exp=1),
    "an unencoded payload": unsigned({"alg": "ES256", "kid": "ec", "b64": False, "crit": ["b64"]}, "AAAA"),
    "other claims": swapped(EC.sign(CLAIMS), sub="system:serviceaccount:kube-system:admin"),
    "no kid": EC.sign(CLAIMS, kid=None),
    "an unknown kid": EC.sign(CLAIMS, kid="ec2"),
    "an empty kid": EC.sign(CLAIMS, kid=""),
    "a kid that is a number": unsigned({"alg": "ES256", "kid": 7}, EC.sign(CLAIMS).split(".")[2]),
    "a kid that is a path": EC.sign(CLAIMS, kid="../../dev/null"),
    "a signature of zeros": unsigned({"alg": "ES256", "kid": "ec"}, part(bytes(64))),
    "no signature": EC.sign(CLAIMS).rpartition(".")[0] + ".",
    "half a signature": EC.sign(CLAIMS)[:-20],
    "claims that are a list": jwt.PyJWS().encode(b"[]", EC.key, "ES256", {"kid": "ec"}),
    "claims that are not JSON": jwt.PyJWS().encode(b"\xff", EC.key, "ES256", {"kid": "ec"}),
    "claims without end": jwt.PyJWS().encode(b"[" * 3000, EC.key, "ES256", {"kid": "ec"}),
    "a header without end": f"{part(b'[' * 3000)}.{part(CLAIMS)}.AAAA",
    "a header that is a list": f"{part([])}.{part(CLAIMS)}.AAAA",
    "a header that is not JSON": f"{part(b'{')}.{part(CLAIMS)}.AAAA",
    "a header that is not base64": f"%.{part(CLAIMS)}.AAAA",
    "two parts": f"{part({'alg': 'ES256', 'kid': 'ec'})}.{part(CLAIMS)}",
    "five parts": f"{EC.sign(CLAIMS)}.AAAA.AAAA",
    "nothing": "..",
}


def believed(token: str) -> Any:
    """What the room does with a token, without the wait for an unknown key."""
    kid = key_id(token)
    if kid not in KEYS:
        raise BadToken("unknown")
    return verified(token, KEYS[kid])


@pytest.mark.parametrize("token", FORGED.values(), ids=list(FORGED))
def test_a_forged_token_proves_nobody(token: str) -> None:
    """Nothing that a token says of itself makes up for the signature of the issuer's key."""
    with pytest.raises(BadToken) as caught:
        believed(token)

    assert not [piece for piece in ("system:", "evil", "kube") if piece in str(caught.value)]


@pytest.mark.parametrize("signer", [EC, RSA, Signer("e3", "ES384"), Signer("e5", "ES512")], ids=lambda s: s.algorithm)
def test_what_kubernetes_signs_is_believed(signer: Signer) -> None:
    """RS256, ES256, ES384 and ES512 are accepted, the algorithms of an API server."""
    keys = read_keys(key_set(signer))
    token = signer.sign(CLAIMS)

    assert CLAIMS == verified(token, keys[key_id(token)])


@pytest.mark.parametrize(
    "jwk",
    [
        pytest.param({"kty": "oct", "k": "AAAA", "alg": "HS256"}, id="symmetric"),
        pytest.param(EC.private_jwk, id="private"),
        pytest.param({**EC.jwk, "use": "enc"}, id="for encryption"),
        pytest.param({**EC.jwk, "alg": "ES384"}, id="of another curve"),
        pytest.param({**RSA.jwk, "alg": "RS512"}, id="of another hash"),
        pytest.param({**RSA.jwk, "alg": "HS256"}, id="of HMAC"),
        pytest.param({**RSA.jwk, "alg": ["RS256"]}, id="of a list"),
        pytest.param(Signer("weak", "RS256", 1024).jwk, id="weak"),
        pytest.param({**EC.jwk, "x": "AAAA"}, id="off the curve"),
        pytest.param({**RSA.jwk, "n": "%"}, id="damaged"),
        pytest.param({"kty": "RSA"}, id="empty"),
        pytest.param({"kty": ["RSA"]}, id="of no kind"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, id="of Edwards"),
        pytest.param({**EC.jwk, "kid": ""}, id="without a name"),
        pytest.param({**EC.jwk, "kid": 7}, id="named by a number"),
        pytest.param("key", id="text"),
    ],
)
def test_a_key_that_could_prove_too_much_is_left_out(jwk: Any) -> None:
    """Only public keys of the kinds that Kubernetes signs with verify a token."""
    entry = {"kid": "ec", **jwk} if isinstance(jwk, dict) else jwk
    document = {"keys": [entry, RSA.jwk]}

    assert {"rsa"} == set(read_keys(json.dumps(document).encode()))


def test_two_keys_of_one_name_are_neither() -> None:
    """A `kid` shared by two keys is refused; the same key listed twice counts once."""
    assert {"rsa"} == set(read_keys(key_set(EC, STRANGER, RSA)))
    assert {"ec", "rsa"} == set(read_keys(key_set(EC, EC, RSA)))


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[" * 100_000, b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [{}]}']
)
def test_a_document_without_keys_is_told(data: bytes) -> None:
    """A malformed key set is a fault of the issuer, and never an empty set of keys."""
    with pytest.raises(NoKeys):
        read_keys(data)
