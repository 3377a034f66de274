"""Whom the doctor asks what: those that files name, each once, and no more than there is room for."""

from forwarder.doctor.planning import MOST_SERVERS, MOST_TRIES, plans_for
from tests.lab.facts import FILE, OURS, UPSTREAM, config_of

SEARCH = "search ns.svc.cluster.local svc.cluster.local\noptions ndots:5\n"


def test_a_pod() -> None:
    text = f"nameserver 10.43.0.10\nnameserver 10.43.0.11\n{SEARCH}"
    plans, left_out = plans_for(FILE, None, ("db",), {FILE: text})
    assert left_out == []
    assert [(plan.server.address, plan.server.roles) for plan in plans] == [
        ("10.43.0.10:53", ("nameserver",)),
        ("10.43.0.11:53", ("nameserver",)),
    ]
    for plan in plans:
        assert plan.names == ("db.ns.svc.cluster.local.", "db.svc.cluster.local.", "db.")
        assert plan.search == ("ns.svc.cluster.local.", "svc.cluster.local.")
        assert plan.below == "ns.svc.cluster.local."


def test_a_file_that_names_nobody_or_is_not_there_means_loopback() -> None:
    for texts in ({FILE: ""}, {}):
        (plan,), _ = plans_for(FILE, None, (), texts)
        assert plan.server.address == "127.0.0.1:53"
        assert (plan.names, plan.search, plan.below) == ((), (), "")


def test_a_node_with_the_daemon() -> None:
    plans, _ = plans_for(FILE, config_of(), ("db.a.test.",), {FILE: "nameserver 169.254.20.10"})
    assert [(one.server.address, one.server.roles, one.server.zones) for one in plans] == [
        (OURS, ("nameserver", "listen"), ()),
        (UPSTREAM, ("upstream",), (".",)),
    ]
    assert [one.names for one in plans] == [("db.a.test.",)] * 2


def test_an_upstream_is_asked_about_names_of_its_zone() -> None:
    zones = "[{zone: ., upstreams: [192.0.2.53]}, {zone: a.test, upstreams: [192.0.2.54], transport: tcp}]"
    config = config_of(f"{{listen: {{addresses: ['0.0.0.0:53', '[::]:5300']}}, zones: {zones}}}")
    plans, _ = plans_for(FILE, config, ("db.A.test.", "db.b.test."), {FILE: "nameserver 192.0.2.9"})
    by_address = {one.server.address: one for one in plans}
    assert list(by_address) == ["192.0.2.9:53", "127.0.0.1:53", "[::1]:5300", "192.0.2.53:53", "192.0.2.54:53"]
    assert by_address["192.0.2.53:53"].names == ("db.b.test.",)
    special = by_address["192.0.2.54:53"]
    assert (special.names, special.below, special.server.transport) == (("db.A.test.",), "a.test.", "tcp")
    assert (special.apex, special.name) == ("a.test.", "a.test."), "it may refuse everything else"
    assert (by_address["192.0.2.53:53"].apex, by_address["192.0.2.53:53"].name) == (".", "example.com.")


def test_there_is_an_end_to_servers_and_names() -> None:
    upstreams = [f"192.0.2.{number}" for number in range(1, 15)]
    config = config_of(
        f"{{zones: [{{zone: ., upstreams: {upstreams}}}, {{zone: a.test, upstreams: {['192.0.3.1', '192.0.3.2']}}}]}}"
    )
    names = tuple(f"n{number}" for number in range(20))
    plans, left_out = plans_for(FILE, config, names, {FILE: f"nameserver 192.0.4.1\n{SEARCH}"})
    assert len(plans) == MOST_SERVERS
    assert left_out == ["192.0.3.1:53", "192.0.3.2:53"]
    assert len(plans[0].names) == MOST_TRIES
