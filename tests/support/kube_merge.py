"""Patches as an API server applies them, as far as Helm sends them: strategic merge, JSON merge, server-side apply."""

from copy import deepcopy
from typing import Any, TypeAlias

Json: TypeAlias = Any

# What tells the items of a list apart, by the name of the list: `x-kubernetes-patch-merge-key` of the Kubernetes API.
KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "topologySpreadConstraints": "topologyKey",
    "imagePullSecrets": "name",
    "conditions": "type",
}


def merge(live: Json, patch: Json, name: str = "", *, by_key: bool = True) -> Json:
    """A value after a patch. ``None`` removes a field; lists with a key are merged item by item, others replaced."""
    if isinstance(patch, dict):
        made = dict(live) if isinstance(live, dict) and patch.get("$patch") != "replace" else {}
        if "$retainKeys" in patch:
            made = {field: value for field, value in made.items() if field in patch["$retainKeys"]}
        for field, value in patch.items():
            if field.startswith("$"):
                continue
            if value is None:
                made.pop(field, None)
            else:
                made[field] = merge(made.get(field), value, field, by_key=by_key)
        return made
    if isinstance(patch, list) and by_key and (key := _key(name, patch)):
        return _merge_items(live if isinstance(live, list) else [], patch, key)
    return deepcopy(patch)


def _key(name: str, items: list[Json]) -> str | None:
    if name == "ports":
        return "containerPort" if any("containerPort" in one for one in items) else "port"
    return KEYS.get(name)


def _merge_items(live: list[Json], patch: list[Json], key: str) -> list[Json]:
    made = {one[key]: one for one in live}
    for one in patch:
        if one.get("$patch") == "delete":
            made.pop(one[key], None)
        else:
            made[one[key]] = merge(made.get(one[key]), one)
    return list(made.values())


def apply(live: Json, before: Json, now: Json) -> Json:
    """A server-side apply by one manager: fields that it applied ``before`` and does not ``now`` go, others stay."""
    return merge(_without(live, before, now), now)


def _without(live: Json, before: Json, now: Json, name: str = "") -> Json:
    if isinstance(live, dict) and isinstance(before, dict):
        now = now if isinstance(now, dict) else {}
        gone = {field for field in before if field not in now}
        return {
            field: _without(value, before.get(field), now.get(field), field)
            for field, value in live.items()
            if field not in gone
        }
    if isinstance(live, list) and isinstance(before, list) and (key := _key(name, before)):
        old, new = ({one[key]: one for one in side or ()} for side in (before, now))
        return [
            _without(one, old.get(one[key]), new.get(one[key]))
            for one in live
            if one[key] not in old or one[key] in new
        ]
    return live
