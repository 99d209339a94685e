"""`gateway.core.routing`: the route of a request and the key of a route, against the slow, obvious way."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Catalog, Endpoint, Lane, plain
from gateway.core.decision import Permit, choose_key, decide
from gateway.core.key_faults import KeyFault
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.routing import Route, Routes, Standing
from gateway.core.rule import Ask

SCOPES = ["a:read", "a:write", "b:read", "b:write", "admin"]
NAMES = ["one", "two", "three", "four"]

scopes = st.frozensets(st.sampled_from(SCOPES))
standings = st.builds(
    Standing,
    scopes=st.none() | scopes,
    refused=st.sampled_from([None, None, None, *KeyFault]),
)


def permit(route: Route, *needed: str) -> Permit:
    """A permit, made the only way there is, for an endpoint that needs these scopes."""
    endpoint = Endpoint("GET", "/a", frozenset(needed), Lane.READ)
    return decide(Ask(Policy("billing", endpoints=frozenset({endpoint})), endpoint, date(2026, 1, 1), route=route))


def endpoint(name: str) -> Endpoint:
    """An endpoint by its name; routes look at nothing else."""
    method, template = name.split(" ")
    return Endpoint(method, template, frozenset(), Lane.READ)


def choose(keys: dict[str, Standing], *needed: str) -> str:
    """The key chosen from a route with these keys in this order, or the code of the refusal."""
    try:
        return choose_key(permit(Route("/**", tuple(keys)), *needed), keys)
    except Refused as refused:
        return refused.code.value


@pytest.mark.parametrize(
    ("path", "template", "covered"),
    [
        ("/**", "/threads", True),
        ("/**", "/threads/{id}/messages", True),
        ("/threads/**", "/threads", True),
        ("/threads/**", "/threads/{id}", True),
        ("/threads/**", "/threads/{id}/messages/{message_id}", True),
        ("/changelogs/**", "/changelogs/{id}", True),
        ("/changelog/**", "/changelogs", False),
        ("/changelogs/**", "/changelog-tags", False),
        ("/threads", "/threads", True),
        ("/threads", "/threads/{id}", False),
        ("/threads/{id}", "/threads/{thread_id}", True),
        ("/threads/{id}/**", "/threads/{thread_id}/messages", True),
        ("/threads/{id}/**", "/threads", False),
        ("/contacts/{id}", "/contacts/by-email", False),
        ("/contacts/{id}/**", "/contacts/by-email", False),
        ("/Threads/**", "/threads", False),
    ],
)
def test_a_route_covers_whole_segments(path: str, template: str, covered: bool) -> None:
    """``/x/**`` covers ``/x`` and all below it and never ``/xy``; how a path calls its ids is free."""
    assert covered == Route(path, ("k",)).covers(endpoint(f"GET {template}"))


@pytest.mark.parametrize(
    ("caller", "name", "key"),
    [
        ("billing", "GET /threads", "all"),
        ("billing", "GET /threads/{id}", "threads below"),
        ("billing", "GET /threads/{id}/messages", "threads below"),
        ("billing", "GET /companies", "billing"),
        ("billing", "GET /companies/{id}", "billing companies"),
        ("support", "GET /companies/{id}", "all companies"),
        ("support", "GET /tags", "all"),
    ],
)
def test_a_route_that_names_the_caller_wins_then_the_longest_path(caller: str, name: str, key: str) -> None:
    """A caller's own route beats a longer one for everyone; among equals the longest path serves, in any file order."""
    routes = [
        Route("/**", ("all",)),
        Route("/threads/{id}/**", ("threads below",)),
        Route("/companies/**", ("all companies",)),
        Route("/companies", ("billing",), frozenset({"billing", "other"})),
        Route("/companies/{id}", ("billing companies",), frozenset({"billing"})),
        Route("/companies/**", ("billing all companies",), frozenset({"billing"})),
    ]

    for order in (routes, routes[::-1]):
        found = Routes(order, [endpoint(name)]).find(caller, endpoint(name))

        assert found is not None
        assert (key,) == found.keys


def test_without_a_route_nothing_is_served() -> None:
    """An endpoint without a route for this caller is refused, and the refusal says where to add a route."""
    routes = Routes([Route("/a/**", ("k",)), Route("/b", ("k",), frozenset({"billing"}))], [endpoint("GET /b")])

    one = endpoint("GET /b")
    with pytest.raises(Refused) as caught:
        decide(Ask(Policy("support"), one, date(2026, 1, 1), route=routes.find("support", one)))

    assert (Code.FORBIDDEN, Reason.NO_ROUTE) == (caught.value.code, caught.value.reason)
    assert "no route covers GET /b for caller support; add a route" in caught.value.note


@given(data=st.data())
def test_the_table_agrees_with_comparing_paths(catalog: Catalog, data: st.DataObject) -> None:
    """For all endpoints and callers, the route found is the one that a reader of the file would point at."""
    stems = sorted({"/".join(plain(e.template).split("/")[:n]) for e in catalog.endpoints for n in range(1, 5)})
    some = data.draw(st.lists(st.tuples(st.sampled_from(stems), st.booleans()), max_size=8, unique=True))
    own = data.draw(st.lists(st.tuples(st.sampled_from(stems), st.booleans()), max_size=4, unique=True))
    written = [
        (stem, deep, who) for rows, who in ((some, None), (own, "billing")) for stem, deep in rows if stem or deep
    ]
    routes = Routes(
        [
            Route(stem + "/**" * deep, (f"{stem}{deep}{who}",), frozenset({who} if who else ()))
            for stem, deep, who in data.draw(st.permutations(written))
        ],
        catalog.endpoints,
    )

    for one in catalog.endpoints:
        parts = plain(one.template).split("/")
        for caller in ("billing", "support"):
            fitting = [
                (who == caller, len(stem.split("/")), not deep, f"{stem}{deep}{who}")
                for stem, deep, who in written
                if who in (None, caller) and (parts[: len(stem.split("/"))] if deep else parts) == stem.split("/")
            ]
            found = routes.find(caller, one)

            assert (max(fitting)[-1] if fitting else None) == (found and found.keys[0])


@pytest.mark.parametrize(
    ("keys", "needed", "chosen"),
    [
        pytest.param({"wide": {"a", "b", "c"}, "narrow": {"a", "b"}}, "a", "narrow", id="fewest scopes"),
        pytest.param({"narrow": {"b"}, "wide": {"a", "b", "c"}}, "a", "wide", id="that carry the scope"),
        pytest.param({"second": {"a", "b"}, "first": {"a", "c"}}, "a", "second", id="order decides between equals"),
        pytest.param({"a": {"a"}, "b": {"b"}, "both": {"a", "b", "c"}}, "ab", "both", id="all scopes on one key"),
        pytest.param({"none": set(), "some": {"a"}}, "", "none", id="no scope needed"),
        pytest.param({"unknown": None, "known": {"a", "b"}}, "a", "known", id="known beats unknown"),
        pytest.param({"lacks": {"b"}, "unknown": None, "other": None}, "a", "unknown", id="unknown: upstream decides"),
        pytest.param({"lacks": {"b"}, "none": set()}, "a", "scope_required", id="known to lack it"),
        pytest.param({"gone": KeyFault.REJECTED, "wide": {"a", "b"}}, "a", "wide", id="not a refused key"),
        pytest.param({"gone": KeyFault.REJECTED, "unknown": None}, "a", "unknown", id="not a refused key, again"),
        pytest.param({"gone": KeyFault.REJECTED, "lacks": set()}, "a", "scope_required", id="lacking beats refused"),
        pytest.param({"gone": KeyFault.REJECTED}, "", "upstream_key_rejected", id="revoked"),
        pytest.param({"v1": KeyFault.UNSUPPORTED}, "", "upstream_key_unsupported", id="unsupported"),
        pytest.param({"v1": KeyFault.UNSUPPORTED, "gone": KeyFault.REJECTED}, "", "upstream_key_rejected", id="both"),
    ],
)
def test_the_narrowest_key_that_carries_the_scopes_serves(
    keys: dict[str, set[str] | KeyFault | None], needed: str, chosen: str
) -> None:
    """No request is sent with a wider key than it needs."""
    known = {
        name: Standing(refused=state)
        if isinstance(state, KeyFault)
        else Standing(frozenset(state) if state is not None else None)
        for name, state in keys.items()
    }

    assert chosen == choose(known, *needed)


@given(st.lists(st.tuples(st.sampled_from(NAMES), standings), min_size=1, unique_by=lambda pair: pair[0]), scopes)
def test_the_choice_agrees_with_trying_every_key(pairs: list[tuple[str, Standing]], needed: frozenset[str]) -> None:
    """For any keys in any state, the choice is the one that a list of all possibilities gives."""
    best: tuple[float, int, str] | None = None
    for place, (name, standing) in enumerate(pairs):
        if standing.refused is None and (standing.scopes is None or standing.scopes >= needed):
            width = float("inf") if standing.scopes is None else len(standing.scopes)
            best = min(best, (width, place, name)) if best else (width, place, name)
    refused = [standing.refused for _, standing in pairs]
    if best:
        expected = best[-1]
    elif None in refused:
        expected = "scope_required"
    else:
        expected = "upstream_key_rejected" if {*refused} != {KeyFault.UNSUPPORTED} else "upstream_key_unsupported"

    assert expected == choose(dict(pairs), *needed)


def test_a_scope_on_no_key_is_told_as_productlane_tells_it() -> None:
    """The caller sees needed and granted scopes; the operator the keys, also one that is refused, and the cure."""
    keys = {
        "support": Standing(frozenset({"b:read"})),
        "gone": Standing(refused=KeyFault.REJECTED),
        "other": Standing(frozenset({"a:write"})),
    }
    with pytest.raises(Refused) as caught:
        choose_key(permit(Route("/a/**", tuple(keys)), "a:read", "b:read"), keys)

    assert Reason.SCOPE_ON_NO_KEY is caught.value.reason
    assert {"required": ["a:read", "b:read"], "granted": []} == caught.value.details
    assert caught.value.note == (
        "route /a/**: key support, other lacks a:read; key gone: Productlane answers 401; it was revoked or is "
        "mistyped; for key gone, put a valid key in its place; or widen a key in Productlane or add one to the route"
    )


def test_scopes_spread_over_keys_are_called_so() -> None:
    """Where each scope is on some key but all on none, the note does not claim that a scope is missing."""
    keys = {"one": Standing(frozenset({"a:read"})), "two": Standing(frozenset({"b:read"}))}
    with pytest.raises(Refused) as caught:
        choose_key(permit(Route("/a", tuple(keys)), "a:read", "b:read"), keys)

    assert "lacks all of them on one key" in caught.value.note


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (KeyFault.REJECTED, "Productlane answers 401"),
        (KeyFault.UNSUPPORTED, "Productlane answers 410"),
        (KeyFault.WRONG_WORKSPACE, "it belongs to another workspace"),
        (KeyFault.MISSING, "its file or variable does not exist"),
    ],
)
def test_a_refused_key_is_named_with_what_to_do(refused: KeyFault, words: str) -> None:
    """The operator reads in the log which key Productlane refuses and how, and the caller that it is not its fault."""
    with pytest.raises(Refused) as caught:
        choose_key(permit(Route("/a", ("support",))), {"support": Standing(refused=refused)})

    assert 502 == caught.value.status
    assert Reason.KEY_REFUSED is caught.value.reason
    assert f"route /a: key support: {words}" in caught.value.note
