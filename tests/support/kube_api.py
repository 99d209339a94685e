"""A STAND-IN for a Kubernetes API server: enough for `helm` and some of `kubectl`, on loopback, with objects in memory.

No package that can be installed here has a real kube-apiserver. This one serves discovery, and create, get, list,
watch, update, patch and delete of the kinds that the chart makes. It checks neither schemas nor rights. It runs no
pod, and its only controller is the one for Jobs that it is given (`kube_jobs`).
"""

import contextlib
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support import kube_merge, kube_protobuf

Object: TypeAlias = dict[str, Any]
# Namespace, plural and name; the namespace is "" for objects of the cluster.
Key: TypeAlias = tuple[str, str, str]

# Kinds by group and version: plural, kind, whether it is in a namespace.
KINDS = {
    "v1": [
        ("namespaces", "Namespace", False),
        ("configmaps", "ConfigMap", True),
        ("secrets", "Secret", True),
        ("services", "Service", True),
        ("serviceaccounts", "ServiceAccount", True),
        ("pods", "Pod", True),
        ("events", "Event", True),
    ],
    "apps/v1": [("deployments", "Deployment", True), ("replicasets", "ReplicaSet", True)],
    "batch/v1": [("jobs", "Job", True)],
    "autoscaling/v2": [("horizontalpodautoscalers", "HorizontalPodAutoscaler", True)],
    "policy/v1": [("poddisruptionbudgets", "PodDisruptionBudget", True)],
    "networking.k8s.io/v1": [("networkpolicies", "NetworkPolicy", True), ("ingresses", "Ingress", True)],
    "monitoring.coreos.com/v1": [("podmonitors", "PodMonitor", True)],
    "rbac.authorization.k8s.io/v1": [("clusterrolebindings", "ClusterRoleBinding", False)],
}
VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"}
REASONS = {404: "NotFound", 409: "AlreadyExists", 405: "MethodNotAllowed", 415: "UnsupportedMediaType"}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)


class Failure(Exception):
    """An answer that is not 2xx: its status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KubeAPI:
    """The objects, and what happened to them. ``kubeconfig`` is a file for `helm`.

    ``started`` is called in a thread of its own with each new Job and Pod that has no status yet.
    """

    def __init__(self, folder: Path, started: Callable[["KubeAPI", Object], None]) -> None:
        self.folder = folder
        self.started = started
        self.objects: dict[Key, Object] = {}
        self.logs: dict[Key, str] = {}
        self.changed = threading.Condition()
        self.closed = False
        self.events: list[tuple[str, Key, Object]] = []
        self._applied: dict[tuple[Key, str], Object] = {}
        self.url = ""
        self.kubeconfig = folder / "kubeconfig"

    def get(self, plural: str, name: str, namespace: str = "apps") -> Object:
        """A copy of an object. Raises `Failure` if there is none."""
        with self.changed:
            if (found := self.objects.get((namespace, plural, name))) is None:
                raise Failure(404, f'{plural} "{name}" not found')
            return deepcopy(found)

    def put(self, plural: str, made: Object, namespace: str = "apps", *, new: bool = False) -> Object:
        """Write an object, notify watchers, and start a Job or Pod. Raises `Failure` if it should be ``new``."""
        metadata = made.setdefault("metadata", {})
        key = (namespace, plural, metadata["name"])
        with self.changed:
            old = self.objects.get(key)
            if new and old is not None:
                raise Failure(409, f'{plural} "{metadata["name"]}" already exists')
            kept = old["metadata"] if old else {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-01-01T00:00:00Z"}
            metadata |= {field: kept[field] for field in ("uid", "creationTimestamp")}
            metadata["resourceVersion"] = str(len(self.events) + 1)
            if namespace:
                metadata["namespace"] = namespace
            self.objects[key] = made
            self._tell("MODIFIED" if old else "ADDED", key, made)
        if old is None and plural in ("jobs", "pods") and "status" not in made:
            threading.Thread(target=self.started, args=(self, deepcopy(made)), daemon=True).start()
        return made

    def patch(self, key: Key, kind: str, body: Object, manager: str) -> Object:
        """Change an object by a patch of this media type; server-side apply makes it if there is none."""
        namespace, plural, name = key
        with self.changed:
            if "apply-patch" in kind:
                live = self.objects.get(key, {"metadata": {"name": name}})
                made = kube_merge.apply(deepcopy(live), self._applied.get((key, manager), {}), body)
                self._applied[key, manager] = body
            elif "merge-patch" in kind:
                made = kube_merge.merge(self.get(plural, name, namespace), body, by_key="strategic" in kind)
            else:
                raise Failure(415, f"no patch of type {kind}")
            return self.put(plural, made, namespace)

    def delete(self, key: Key) -> Object:
        """Remove an object, and the pods of a Job. Raises `Failure` if there is none."""
        with self.changed:
            gone = self.get(key[1], key[2], key[0])
            del self.objects[key]
            self._tell("DELETED", key, gone)
            if key[1] == "jobs":
                for pod in self.find(key[0], "pods", f"job-name={key[2]}"):
                    self.delete((key[0], "pods", pod["metadata"]["name"]))
            return gone

    def find(self, namespace: str | None, plural: str, labels: str = "", fields: str = "") -> list[Object]:
        """The objects of a kind that selectors choose; of all namespaces for ``None``."""
        with self.changed:
            return [
                deepcopy(one)
                for key, one in self.objects.items()
                if key[1] == plural and namespace in (None, key[0]) and chosen(one, labels, fields)
            ]

    def _tell(self, what: str, key: Key, one: Object) -> None:
        self.events.append((what, key, deepcopy(one)))
        self.changed.notify_all()

    def follow(self, since: int, seconds: float) -> Iterator[tuple[str, Key, Object]]:
        """Events after a version, as they come, for a time."""
        end = time.monotonic() + seconds
        while not self.closed:
            with self.changed:
                if len(self.events) <= since and not self.changed.wait(min(1.0, max(0.0, end - time.monotonic()))):
                    if time.monotonic() >= end:
                        return
                    continue
                fresh = self.events[since:]
                since = len(self.events)
            yield from fresh


def chosen(one: Object, labels: str, fields: str) -> bool:
    """Whether selectors of labels and fields choose an object."""
    metadata = one["metadata"]
    held = metadata.get("labels", {})
    known = {"metadata.name": metadata["name"], "metadata.namespace": metadata.get("namespace", "")}
    return all(_holds(held, part) for part in _parts(labels)) and all(_holds(known, part) for part in _parts(fields))


def _parts(selector: str) -> list[str]:
    return [part.strip() for part in re.split(r",(?![^(]*\))", selector) if part.strip()]


def _holds(held: dict[str, str], part: str) -> bool:
    if inside := re.fullmatch(r"(\S+) (not)?in \((.*)\)", part):
        return (held.get(inside[1]) in [one.strip() for one in inside[3].split(",")]) is not bool(inside[2])
    name, unequal, value = re.fullmatch(r"([^=!]+)(?:(!)?==?(.*))?", part).groups()  # type: ignore[union-attr]
    if value is None:
        return name in held
    return (held.get(name) == value) is not bool(unequal)


def read(body: bytes) -> Object:
    """An object or a patch as it was sent: JSON, YAML or protobuf."""
    if body.startswith(kube_protobuf.MAGIC):
        return kube_protobuf.read(body)
    found: Object = yaml.safe_load(body) if body else {}
    return found


def _discovery(path: str) -> Object | None:
    groups = [one for one in KINDS if "/" in one]
    if path == "/.well-known/openid-configuration":
        return {"issuer": "https://kubernetes.default.svc.cluster.local"}
    if path == "/version":
        return VERSION
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        versions = {one.partition("/")[0]: {"groupVersion": one, "version": one.partition("/")[2]} for one in groups}
        made = [{"name": name, "versions": [one], "preferredVersion": one} for name, one in versions.items()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": made}
    if path == "/openapi/v3":
        return {"paths": {_root(one): {"serverRelativeURL": f"/openapi/v3/{_root(one)}"} for one in KINDS}}
    for one, kinds in KINDS.items():
        if path == f"/{_root(one)}":
            rows = [{"name": p, "singularName": "", "namespaced": n, "kind": k, "verbs": VERBS} for p, k, n in kinds]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": one, "resources": rows}
        if path == f"/openapi/v3/{_root(one)}":
            return _openapi(one)
    return None


def _root(group: str) -> str:
    return f"apis/{group}" if "/" in group else f"api/{group}"


def _openapi(version: str) -> Object:
    """That a patch may ask for validation of its fields, which is all that clients look for before they send it."""
    group, _, number = version.rpartition("/")
    parameters = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    paths = {
        f"/{_root(version)}/{'namespaces/{namespace}/' if namespaced else ''}{plural}/{{name}}": {
            "patch": {
                "parameters": parameters,
                "responses": {},
                "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
            }
        }
        for plural, kind, namespaced in KINDS[version]
    }
    return {"openapi": "3.0.0", "info": {"title": "stand-in", "version": "1"}, "paths": paths, "components": {}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: KubeAPI

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.command == "GET" and (found := _discovery(parts.path.rstrip("/"))) is not None:
                self._send(200, found)
                return
            if (place := PATH.fullmatch(parts.path)) is None:
                raise Failure(404, f"nothing at {parts.path}")
            self._answer(place, query, {} if self.command == "DELETE" else read(body))
        except Failure as failure:
            reason = REASONS.get(failure.status, "BadRequest")
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": str(failure)}
            self._send(failure.status, status | {"reason": reason, "code": failure.status})
        except BrokenPipeError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of `http.server`

    def _answer(self, place: re.Match[str], query: dict[str, str], body: Object) -> None:
        version, plural, name = place["core"] or place["group"], place["plural"], place["name"]
        kinds = {p: (k, n) for p, k, n in KINDS.get(version, [])}
        if plural not in kinds or place["sub"] not in (None, "log", "status"):
            raise Failure(404, f"no resource {plural} in {version}")
        kind, namespaced = kinds[plural]
        namespace = (place["namespace"] or "") if namespaced else ""
        key = (namespace, plural, name or "")
        if self.command == "GET" and name is None:
            self._list(version, kind, plural, namespace if namespace or not namespaced else None, query)
        elif self.command == "GET" and place["sub"] == "log":
            self._send(200, self.api.logs.get(key, ""))
        elif self.command == "GET":
            self._send(200, self.api.get(plural, name, namespace))
        elif self.command == "POST":
            self._send(201, self.api.put(plural, body, namespace, new=True))
        elif self.command == "PUT":
            self._send(200, self.api.put(plural, body, namespace))
        elif self.command == "PATCH":
            manager = query.get("fieldManager", "")
            self._send(200, self.api.patch(key, self.headers["Content-Type"], body, manager))
        else:
            self._send(200, self.api.delete(key))

    def _list(self, version: str, kind: str, plural: str, namespace: str | None, query: dict[str, str]) -> None:
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        with self.api.changed:
            now = len(self.api.events)
            found = self.api.find(namespace, plural, labels, fields)
        if query.get("watch") in ("true", "1"):
            since = query.get("resourceVersion") or "0"
            initial = found if query.get("sendInitialEvents") == "true" or since == "0" else []
            self._watch(
                version, kind, plural, namespace, query, initial, now if initial or since == "0" else int(since)
            )
            return
        for one in found:
            one |= {"apiVersion": version, "kind": kind}
        self._send(
            200,
            {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": str(now)}, "items": found},
        )

    def _watch(
        self,
        version: str,
        kind: str,
        plural: str,
        namespace: str | None,
        query: dict[str, str],
        initial: list[Object],
        since: int,
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        head = {"apiVersion": version, "kind": kind}
        for one in initial:
            self._chunk({"type": "ADDED", "object": one | head})
        if query.get("sendInitialEvents") == "true":
            metadata = {"resourceVersion": str(since), "annotations": {"k8s.io/initial-events-end": "true"}}
            self._chunk({"type": "BOOKMARK", "object": head | {"metadata": metadata}})
        for what, key, one in self.api.follow(since, min(float(query.get("timeoutSeconds", 60)), 60)):
            if (
                key[1] == plural
                and namespace in (None, key[0])
                and chosen(one, query.get("labelSelector", ""), query.get("fieldSelector", ""))
            ):
                self._chunk({"type": what, "object": one | head})
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, value: Object) -> None:
        data = json.dumps(value).encode() + b"\n"
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _send(self, status: int, value: Object | str) -> None:
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(value, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def kube_api(folder: Path, started: Callable[[KubeAPI, Object], None]) -> Iterator[KubeAPI]:
    """A running stand-in with a namespace ``apps``."""
    api = KubeAPI(folder, started)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    names: dict[str, Object] = {
        "clusters": {"cluster": {"server": api.url}},
        "users": {"user": {}},
        "contexts": {"context": {"cluster": "x", "user": "x", "namespace": "apps"}},
    }
    lists = {kind: [{"name": "x"} | entry] for kind, entry in names.items()}
    api.kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "x", **lists}))
    api.put("namespaces", {"metadata": {"name": "apps"}}, "")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.closed = True
        with api.changed:
            api.changed.notify_all()
        server.shutdown()
        server.server_close()
        thread.join(10)
