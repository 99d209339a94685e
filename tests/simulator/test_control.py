"""The control port: keys, faults and the record over HTTP."""

from typing import Any

import pytest

from tests.support.simulated import SECRET, Client, full_key, running


async def control(client: Client, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    url = client.simulator.control_url + path
    async with client.session.request(method, url, json=body) as answer:
        text = await answer.text()
        assert SECRET not in text, "a secret never comes out"
        return answer.status, await answer.json()


async def test_keys_are_listed_without_their_secrets() -> None:
    """The list shows ids, previews and scopes."""
    async with running(control_port=0) as client:
        status, listed = await control(client, "GET", "/keys")

    key = full_key()
    assert 200 == status
    assert [
        {
            "api_key_id": key.api_key_id,
            "preview": "full",
            "scopes": sorted(key.scopes),
            "workspace": "wks_demo",
        }
    ] == listed["keys"]


async def test_a_key_is_added_edited_and_revoked() -> None:
    """Each takes effect on the next request; a secret made here is shown once; a preview or the id names the key."""
    async with running(control_port=0) as client:
        status, made = await control(client, "POST", "/keys", {"scopes": []})
        secret = made["secret"]
        before = await client("GET", "/tags", secret=secret)
        _, edited = await control(client, "PATCH", f"/keys/{made['api_key_id']}", {"scopes": ["tags:read"]})
        after = await client("GET", "/tags", secret=secret)
        _, revoked = await control(client, "DELETE", f"/keys/{made['preview']}")
        gone = await client("GET", "/tags", secret=secret)
        again, _ = await control(client, "DELETE", f"/keys/{made['api_key_id']}")

    assert (201, 403, 200, 401, 404) == (status, before.status, after.status, gone.status, again)
    assert (["tags:read"], "secret" in edited) == (edited["scopes"], False)
    assert {"api_key_id": made["api_key_id"], "revoked": True} == revoked


async def test_a_given_secret_is_taken_and_not_repeated() -> None:
    """A key may be added with a given secret, workspace and id."""
    body = {
        "secret": "pl_v2_mineminemine",
        "scopes": ["admin"],
        "workspace": "wks_2",
        "api_key_id": "k",
    }
    async with running(control_port=0) as client:
        _, made = await control(client, "POST", "/keys", body)
        me = (await client("GET", "/me", secret="pl_v2_mineminemine")).json

    assert {"api_key_id": "k", "preview": "mine", "scopes": ["admin"], "workspace": "wks_2"} == made
    assert ("wks_2", "k", ["admin"]) == (me["workspace_id"], me["api_key_id"], me["scopes"])


async def test_a_shared_preview_is_ambiguous() -> None:
    """Two keys with one preview differ by their ids only."""
    async with running(control_port=0) as client:
        await control(client, "POST", "/keys", {"secret": "pl_v2_full_another", "scopes": []})
        status, refused = await control(client, "DELETE", "/keys/full")

    assert (409, "ambiguous") == (status, refused["error"]["code"])


async def test_faults_come_and_go() -> None:
    """A fault over HTTP strikes as one in process does, is listed while it may still strike, and is cleared."""
    async with running(control_port=0) as client:
        status, _ = await control(client, "POST", "/faults", {"endpoint": "GET /tags", "status": 500, "count": 2})
        failed = await client("GET", "/tags")
        _, listed = await control(client, "GET", "/faults")
        await control(client, "DELETE", "/faults")
        fine = await client("GET", "/tags")
        _, empty = await control(client, "GET", "/faults")

    assert (201, 500, 200) == (status, failed.status, fine.status)
    assert [{"endpoint": "GET /tags", "status": 500, "count": 2, "left": 1}] == listed["faults"]
    assert [] == empty["faults"]


async def test_the_record_shows_no_credential() -> None:
    """The record over HTTP has all that arrived, the credential cut to its preview, and can be emptied."""
    async with running(control_port=0) as client:
        await client("POST", "/companies", json={"name": "A"})
        _, listed = await control(client, "GET", "/requests")
        await control(client, "DELETE", "/requests")
        _, empty = await control(client, "GET", "/requests")

    (one,) = listed["requests"]
    assert ("POST", "/api/v2/companies", 201, "answered") == (
        one["method"],
        one["target"],
        one["status"],
        one["outcome"],
    )
    assert ["Authorization", "Bearer pl_v2_full…"] in one["headers"]
    assert (13, True) == (one["body"]["length"], one["body"]["ended"])
    assert full_key().api_key_id == one["key_id"]
    assert [] == empty["requests"]


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/keys", {"scopes": "tags:read"}, (400, "Expected `array`, got `str` - at `$.scopes`")),
        ("POST", "/keys", {"scopes": [1]}, (400, "Expected `str`, got `int` - at `$.scopes[0]`")),
        ("POST", "/keys", {}, (400, "missing required field `scopes`")),
        ("POST", "/keys", {"secret": "pl_v1_old", "scopes": []}, (400, "a simulated key's secret starts with pl_v2_")),
        ("POST", "/keys", {"scope": []}, (400, "unknown field `scope`")),
        ("POST", "/keys", [], (400, "Expected `object`, got `array`")),
        ("PATCH", "/keys/none", {"scopes": []}, (404, "No key has this api_key_id or preview.")),
        ("POST", "/faults", {"act": "explode"}, (400, "Invalid enum value 'explode' - at `$.act`")),
        ("POST", "/faults", {"endpoint": "GET /nothing"}, (400, "no such endpoint: GET /nothing")),
        ("POST", "/faults", {"status": "500"}, (400, "Expected `int | null`, got `str` - at `$.status`")),
        ("POST", "/faults", {"count": True}, (400, "Expected `int | null`, got `bool` - at `$.count`")),
        ("POST", "/faults", {"headers": {"a": 1}}, (400, "Expected `str`, got `int` - at `$.headers[...]`")),
        ("POST", "/faults", {"staus": 500}, (400, "unknown field `staus`")),
        ("GET", "/nothing", None, (404, "GET /nothing: Not Found")),
        ("PUT", "/keys", None, (405, "PUT /keys: Method Not Allowed")),
    ],
)
async def test_wrong_requests_are_told_what_is_wrong(
    method: str, path: str, body: Any, expected: tuple[int, str]
) -> None:
    """The control port says which field is wrong, and changes nothing."""
    async with running(control_port=0) as client:
        status, answered = await control(client, method, path, body)

    assert expected[0] == status
    assert expected[1] in answered["error"]["message"]


async def test_a_body_that_is_no_json_is_told_so() -> None:
    """Broken JSON is a 400, not a failure of the simulator."""
    async with (
        running(control_port=0) as client,
        client.session.post(client.simulator.control_url + "/keys", data=b"{") as answer,
    ):
        body = await answer.json()

    assert (400, "Input data was truncated") == (answer.status, body["error"]["message"])


async def test_without_a_control_port_there_is_none() -> None:
    """Nothing listens that was not asked for."""
    async with running() as client:
        with pytest.raises(RuntimeError):
            _ = client.simulator.control_url
        async with client.session.get(client.simulator.url.removesuffix("/api/v2") + "/keys") as answer:
            status = answer.status

    assert 401 == status
