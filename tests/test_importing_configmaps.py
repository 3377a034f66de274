"""ConfigMaps in manifests, lists and JSON, with the lines on which their texts stand."""

import pytest

from forwarder.errors import ConfigError
from forwarder.importing.configmaps import ConfigMap, Text, config_maps_in
from forwarder.importing.sources import source_of

MANIFEST = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: node-local-dns}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: node-local-dns
  labels: {a: b}
data:
  Corefile: |
    .:53 {
    }
  other: x
---
kind: DaemonSet
data: {Corefile: not one}
"""


def found(text: str) -> list[ConfigMap]:
    return config_maps_in(source_of(text, "f"))


def test_one_among_others() -> None:
    (one,) = found(MANIFEST)
    assert (one.name, one.data) == ("node-local-dns", {"Corefile": Text(".:53 {\n}\n", 12, is_literal=True)})


def test_lists_as_kubectl_prints_them() -> None:
    text = (
        "items:\n- data:\n    stubDomains: |\n      {}\n  kind: ConfigMap\n  metadata: {name: kube-dns}\n"
        "- kind: ConfigMap\n  data: {Corefile: 'a'}\nkind: List\n"
    )
    first, second = found(text)
    assert (first.name, first.data["stubDomains"].line) == ("kube-dns", 4)
    assert second.data == {"Corefile": Text("a", 8, is_literal=False)}


def test_json() -> None:
    (one,) = found('{"kind": "ConfigMap", "data": {"upstreamNameservers": "[\\"192.0.2.1\\"]"}}')
    assert one.data["upstreamNameservers"].value == '["192.0.2.1"]'


@pytest.mark.parametrize(
    "text",
    ["", "a", "kind: ConfigMap\n", "kind: ConfigMap\ndata: {x: y}\n", "- kind: ConfigMap\n", "? [a]\n: b\n? {c: d}\n: *x\n"],
)
def test_none(text: str) -> None:
    assert found(text.replace("*x", "x")) == []


def test_aliases_are_not_followed() -> None:
    text = "a: &a [x]\nb: [*a, *a]\nkind: ConfigMap\ndata: {Corefile: &c 'z', stubDomains: *c}\n"
    (one,) = found(text)
    assert list(one.data) == ["Corefile"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: [ConfigMap\n", r"f: line \d: is not YAML"),
        ("kind: ConfigMap\n\tdata: x\n", "f: line 2: is not YAML"),
        ("a: \x07", "f: line 1: is not YAML"),
        ("data:\n  " + "[" * 100_000, "f: line 2: is nested more than 100 deep"),
    ],
)
def test_no_yaml(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        found(text)
