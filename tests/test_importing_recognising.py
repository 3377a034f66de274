"""What kind of file it is."""

import pytest

from forwarder.importing.recognising import Kind, kind_of


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (".:53 {\n errors\n}\n", Kind.COREFILE),
        ("# about\n(snippet) { # of mine\n}\n", Kind.COREFILE),
        ("a b\n{\nerrors\n}\n", Kind.COREFILE),
        (".:53\nforward . 192.0.2.1\n", Kind.COREFILE),
        ('. {\n template IN A {\n  answer "a=b"\n }\n}', Kind.COREFILE),
        ("apiVersion: v1\nkind: ConfigMap\ndata:\n  Corefile: |\n    .:53 {\n    }\n", Kind.CONFIGMAP),
        ("---\n# a list\nitems:\n- kind: ConfigMap\n", Kind.CONFIGMAP),
        ('{"apiVersion": "v1", "kind": "ConfigMap"}', Kind.CONFIGMAP),
        ("server=/a/192.0.2.1\n", Kind.DNSMASQ),
        ("# about\nno-resolv\nserver = 192.0.2.1\n", Kind.DNSMASQ),
        ("no-resolv\nno-hosts\n", Kind.DNSMASQ),
        ("", None),
        ("# nothing\n", None),
        ("nameserver 192.0.2.1\n", None),
        ("<html>\n", None),
    ],
)
def test_kinds(text: str, kind: Kind | None) -> None:
    assert kind_of(text) is kind
