"""The rules for iptables: text that it reads, what it saves recognised, nobody else's line touched."""

from forwarder.node import iptables
from tests.lab.node_plans import planned

PLAN = planned("169.254.20.10:53", "[fd00::10]:5353")
NOTHING = iptables.found_in("")
THEIRS = "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:THEIRS - [0:0]\n-A INPUT -j THEIRS\nCOMMIT\n"


def saved_after(text: str) -> str:
    """What iptables-save prints once this was obeyed by a host that had nothing: jumps in front, `/32`."""
    lines = []
    for line in text.splitlines():
        shown = line.replace("169.254.20.10 ", "169.254.20.10/32 ").replace("fd00::10 ", "fd00::10/128 ")
        lines.append(shown.replace("-I ", "-A ", 1) if shown.startswith("-I ") else shown)
    return "\n".join(lines)


def test_what_is_written_is_recognised_as_complete() -> None:
    for version in (4, 6):
        text = iptables.text_for(PLAN, version, NOTHING)
        found = iptables.found_in(THEIRS + saved_after(text))
        assert iptables.is_complete(PLAN, version, found)
        assert not iptables.is_complete(planned("169.254.20.11:53", "[fd00::11]:53"), version, found)


def test_each_line_is_needed() -> None:
    lines = saved_after(iptables.text_for(PLAN, 4, NOTHING)).splitlines()
    for place, line in enumerate(lines):
        if line.startswith("-A "):
            found = iptables.found_in("\n".join(lines[:place] + lines[place + 1 :]))
            assert not iptables.is_complete(PLAN, 4, found), line


def test_not_tracked_and_accepted_in_both_directions() -> None:
    lines = iptables.text_for(PLAN, 4, NOTHING).splitlines()
    for protocol in ("udp", "tcp"):
        for target in ("CT --notrack", "ACCEPT"):
            to_us = f"-A FORWARDER-NODE-TO -d 169.254.20.10 -p {protocol} -m {protocol} --dport 53"
            from_us = f"-A FORWARDER-NODE-FROM -s 169.254.20.10 -p {protocol} -m {protocol} --sport 53"
            for rule in (to_us, from_us):
                assert f'{rule} -m comment --comment "forwarder node up" -j {target}' in lines


def test_written_again_no_jump_stands_twice() -> None:
    text = iptables.text_for(PLAN, 4, iptables.found_in(saved_after(iptables.text_for(PLAN, 4, NOTHING))))
    assert text.count("-D ") == text.count("-I ") == 7


def test_what_is_removed_is_what_was_made() -> None:
    found = iptables.found_in(THEIRS + saved_after(iptables.text_for(PLAN, 4, NOTHING)))
    removal = iptables.removal_text(found)
    assert "THEIRS" not in removal
    assert removal.count("-D ") == 7
    assert removal.count("-X FORWARDER-NODE-") == 4
    assert iptables.removal_text(iptables.found_in(THEIRS)) == ""


def test_a_family_without_addresses_has_nothing() -> None:
    only_ipv4 = planned("169.254.20.10:53")
    assert iptables.text_for(only_ipv4, 6, NOTHING) == ""
    assert iptables.is_complete(only_ipv4, 6, NOTHING)
    left_over = iptables.found_in(saved_after(iptables.text_for(PLAN, 6, NOTHING)))
    assert not iptables.is_complete(only_ipv4, 6, left_over)
    assert iptables.text_for(only_ipv4, 6, left_over) == iptables.removal_text(left_over)
