"""The units under systemd itself, booted for the test: started, reloaded, restarted, killed, hung; within their bounds."""

import re
import socket
import time
from collections.abc import Iterator

import pytest

from tests.lab.behaviours import answer
from tests.lab.booted import PROJECT, UNITS, Booted
from tests.lab.clients import ask, query, rdatas
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_program
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream
from tests.lab.steady import Steady

ADDRESS = ("169.254.20.10", 53)
SERVICE = "forwarder.service"
NODE_SERVICE = "forwarder-node.service"
SUCCESSION_PATH = "/opt/forwarder/succession"
SOCKET = "forwarder.socket"
HELLO = ("hello.test", "A")
CONFIG_PATH = "/etc/forwarder/forwarder.yaml"
CONFIG = """
listen: {addresses: ["169.254.20.10:53"]}
zones: [{zone: ., upstreams: ["127.0.0.1:9"]}]
hosts: {records: {hello.test: ["192.0.2.1"]}}
cache: {snapshot: /var/lib/forwarder/cache}
"""
WATCHDOG = "[Service]\nWatchdogSec=2s\n"
"""The unit's own would only make the test longer."""
NODE = """
node: {intercept: [10.43.0.100], rules: %s}
"""
SUCCESSION = """#!/opt/forwarder/bin/python
import os, sys, time
sys.path.insert(0, "/opt/forwarder/project")
from forwarder import systemd
environment = dict(os.environ)
former = systemd.Service.from_environment(os.environ)
former.ready("former")
if successor := os.fork():
    former.main_process_is(successor)
    sys.exit()
while os.getppid() != 1:
    time.sleep(0.01)
systemd.Service.from_environment(environment).status("successor")
time.sleep(60)
"""
SUCCESSION_UNIT = f"""[Service]
Type=notify
NotifyAccess=main
User=forwarder
ExecStart={SUCCESSION_PATH}
"""
PRIORITIES = ("err", "warning", "notice", "info")
RATE = 1000
SECONDS = 5


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    needs_program("dig", package="bind9-dnsutils")
    with Network() as network:
        namespace = network.namespace("host")
        namespace.add_address(f"{ADDRESS[0]}/32")
        yield namespace


@pytest.fixture(scope="module")
def installed(network: Namespace) -> Iterator[Booted]:
    """A host on which docs/systemd.md was followed."""
    with Booted(network) as host:
        for unit in (SERVICE, SOCKET, NODE_SERVICE):
            host.write(f"{UNITS}/{unit}", (PROJECT / "systemd" / unit).read_text())
        host.write(f"{UNITS}/{SERVICE}.d/watchdog.conf", WATCHDOG)
        host.write("/usr/lib/sysusers.d/forwarder.conf", (PROJECT / "systemd" / "forwarder.sysusers.conf").read_text())
        host.write(CONFIG_PATH, CONFIG)
        assert host.run("systemd-sysusers").returncode == 0
        host.systemctl("daemon-reload")
        yield host


@pytest.fixture
def host(installed: Booted) -> Iterator[Booted]:
    """The same with the service started, without the socket unit; stopped afterwards."""
    installed.systemctl("start", SERVICE)
    yield installed
    installed.systemctl("stop", SERVICE, SOCKET)


def dig(network: Namespace, *options: str) -> str:
    return network.run("dig", "+short", *options, f"@{ADDRESS[0]}", HELLO[0]).stdout.strip()


def lost_over(network: Namespace, host: Booted, *commands: tuple[str, ...]) -> int:
    """Queries without an answer while these were done, one and a half seconds apart."""
    with Steady(ADDRESS, [HELLO] * (RATE * SECONDS), RATE, namespace=network) as client:
        for command in commands:
            time.sleep(1.5)
            host.systemctl(*command)
        told = client.report()
    assert len(told) == RATE * SECONDS
    return sum(one.answers == 0 for one in told)


def processes_of(host: Booted) -> set[str]:
    """Process numbers of all that runs in the service's control group."""
    return set(host.run("cat", f"/sys/fs/cgroup{host.show(SERVICE, 'ControlGroup')}/cgroup.procs").stdout.split())


def status_of(host: Booted, pid: str) -> dict[str, str]:
    lines = host.run("cat", f"/proc/{pid}/status").stdout.splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_it_answers_on_port_53_and_may_do_nothing_else(network: Namespace, host: Booted) -> None:
    assert host.show(SERVICE, "ActiveState") == "active"
    assert host.show(SERVICE, "StatusText") == "serving 169.254.20.10:53"
    assert (dig(network), dig(network, "+tcp")) == ("192.0.2.1", "192.0.2.1")
    status = status_of(host, host.show(SERVICE, "MainPID"))
    assert status["Uid"].split()[0] == host.run("id", "-u", "forwarder").stdout.strip() != "0"
    assert int(status["CapBnd"], 16) == 1 << 10  # CAP_NET_BIND_SERVICE
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert "Traceback" not in host.journal()


def test_command_reaches_it_through_the_control_socket(host: Booted) -> None:
    done = host.run("/opt/forwarder/bin/forwarder", "flush", "--all")
    assert (done.returncode, done.stdout) == (0, "entries forgotten: 0\n"), done.stderr


def test_reload_and_restart_lose_no_query(network: Namespace, host: Booted) -> None:
    former = host.show(SERVICE, "MainPID")
    assert lost_over(network, host, ("reload", SERVICE), ("restart", SERVICE)) == 0
    assert host.show(SERVICE, "MainPID") != former
    assert host.show(SERVICE, "NFileDescriptorStore") == "3"  # UDP, TCP, the pages


def test_reload_comes_back_when_the_new_configuration_serves(network: Namespace, host: Booted) -> None:
    former = host.show(SERVICE, "MainPID")
    host.write(CONFIG_PATH, CONFIG.replace("192.0.2.1", "192.0.2.2"))
    try:
        host.systemctl("reload", SERVICE)
        assert dig(network) == "192.0.2.2"
    finally:
        host.write(CONFIG_PATH, CONFIG)
        host.systemctl("reload", SERVICE)
    assert dig(network) == "192.0.2.1"
    assert host.show(SERVICE, "ActiveState") == "active"
    assert host.show(SERVICE, "MainPID") == former


def test_the_journal_tells_grave_lines_from_others(host: Booted) -> None:
    """By priority, as `journalctl -p` selects; the lines themselves do not show it."""
    host.write(CONFIG_PATH, CONFIG.replace("zones:", "zonen:"))
    try:
        assert host.run("systemctl", "reload", SERVICE).returncode != 0
    finally:
        host.write(CONFIG_PATH, CONFIG)
    host.systemctl("reload", SERVICE)
    said = {
        priority: host.run("journalctl", "-u", SERVICE, "-o", "cat", "-p", f"{priority}..{priority}").stdout
        for priority in PRIORITIES
    }
    assert f"forwarder: {CONFIG_PATH}: zonen: is not a setting" in said["err"]
    assert "forwarder: configuration reloaded\n" in said["notice"]
    assert "forwarder: listen.receive_buffer: the kernel grants" in said["warning"]
    assert "forwarder is serving\n" in said["info"], "what is shown at the start"
    assert not re.search(r"^<[0-7]>", host.journal(), re.MULTILINE)


def test_reload_of_a_wrong_configuration_fails_and_the_old_one_stays(network: Namespace, host: Booted) -> None:
    host.write(CONFIG_PATH, CONFIG.replace("zones:", "zonen:"))
    try:
        assert host.run("systemctl", "reload", SERVICE).returncode != 0
        assert dig(network) == "192.0.2.1"
        assert "zonen" in host.journal()
        assert host.show(SERVICE, "ActiveState") == "active"
    finally:
        host.write(CONFIG_PATH, CONFIG)
    host.systemctl("reload", SERVICE)
    assert dig(network) == "192.0.2.1"


def test_reload_that_cannot_be_served_fails_and_the_old_one_stays(network: Namespace, host: Booted) -> None:
    """The configuration is well-formed, and somebody else listens there."""
    taken = "127.0.0.1:9953"
    host.write(CONFIG_PATH, CONFIG.replace('53"]', f'53", "{taken}"]'))
    try:
        with network.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
            somebody.bind(("127.0.0.1", 9953))
            assert host.run("systemctl", "reload", SERVICE).returncode != 0
            assert f"{taken} UDP: already in use" in host.journal()
            assert dig(network) == "192.0.2.1"
            assert host.show(SERVICE, "NFileDescriptorStore") == "3"
    finally:
        host.write(CONFIG_PATH, CONFIG)
    host.systemctl("reload", SERVICE)


def test_address_that_a_reload_adds_is_kept_and_one_it_takes_away_is_forgotten(network: Namespace, host: Booted) -> None:
    more = "127.0.0.1:9953"
    host.write(CONFIG_PATH, CONFIG.replace('53"]', f'53", "{more}"]'))
    try:
        host.systemctl("reload", SERVICE)
        assert host.show(SERVICE, "NFileDescriptorStore") == "5"
        assert host.show(SERVICE, "StatusText") == f"serving 169.254.20.10:53, {more}"
        host.systemctl("restart", SERVICE)
        assert network.run("dig", "+short", "-p", "9953", "@127.0.0.1", HELLO[0]).stdout == "192.0.2.1\n"
        assert host.show(SERVICE, "NFileDescriptorStore") == "5"
    finally:
        host.write(CONFIG_PATH, CONFIG)
        host.systemctl("reload", SERVICE)
    wait_for(lambda: host.show(SERVICE, "NFileDescriptorStore") == "3", "it is forgotten")
    wait_for(lambda: network.run("ss", "-Hlnu", "sport = :9953").stdout == "", "nobody holds it any more")


@pytest.fixture
def upstream(network: Namespace) -> Iterator[ScriptedUpstream]:
    with network.inside():
        upstream = ScriptedUpstream()
    upstream.default = answer("@ 3000 IN A 192.0.2.9")
    with upstream:
        yield upstream


@pytest.fixture
def several(installed: Booted, upstream: ScriptedUpstream) -> Iterator[Booted]:
    """The same host with three workers."""
    config = CONFIG.replace("127.0.0.1:9", upstream.address).replace("{addresses", "{workers: 3, addresses")
    installed.write(CONFIG_PATH, config)
    yield installed
    installed.systemctl("stop", SERVICE, SOCKET)
    installed.run("rm", "-rf", f"{UNITS}/{SOCKET}.d", "/var/lib/forwarder/cache")
    installed.systemctl("daemon-reload")
    installed.write(CONFIG_PATH, CONFIG)


def asked_for(upstream: ScriptedUpstream, network: Namespace) -> int:
    """How many of 40 names the upstream was asked for, when each was asked for once here."""
    before = len(upstream.received)
    with network.inside():
        for number in range(40):
            assert rdatas(ask(ADDRESS, query(f"name{number}.test"))) == ["192.0.2.9"]
    return len(upstream.received) - before


def test_names_meet_their_workers_again_after_restarts(network: Namespace, several: Booted, upstream: ScriptedUpstream) -> None:
    """Each has put back its own answers alone: another one would ask. systemd turns what it keeps about when it is replaced."""
    several.systemctl("start", SERVICE)
    assert several.show(SERVICE, "NFileDescriptorStore") == "5"
    assert asked_for(upstream, network) == 40
    for turn in range(2):
        several.systemctl("restart", SERVICE)
        assert asked_for(upstream, network) == 0, turn
        several.systemctl("daemon-reexec")
    assert several.show(SERVICE, "NFileDescriptorStore") == "5"


def test_names_meet_their_workers_through_as_many_sockets_of_a_unit(
    network: Namespace, several: Booted, upstream: ScriptedUpstream
) -> None:
    several.write(f"{UNITS}/{SOCKET}.d/workers.conf", "[Socket]\n" + 2 * "ListenDatagram=169.254.20.10:53\n")
    several.systemctl("daemon-reload")
    before = len(several.journal())
    several.systemctl("start", SOCKET)
    assert dig(network) == "192.0.2.1"
    assert asked_for(upstream, network) == 40
    several.systemctl("restart", SERVICE)
    assert asked_for(upstream, network) == 0
    assert several.show(SERVICE, "NFileDescriptorStore") == "1"
    assert "sockets could be bound" not in several.journal()[before:]


def test_workers_share_the_one_socket_of_a_unit(network: Namespace, several: Booted, upstream: ScriptedUpstream) -> None:
    several.systemctl("start", SOCKET)
    assert dig(network) == "192.0.2.1"
    wait_for(lambda: several.show(SERVICE, "ActiveState") == "active", "all of them serve")
    asked_for(upstream, network)
    assert "169.254.20.10:53 UDP: 1 of 3 sockets could be bound: workers read them together" in several.journal()


def test_restart_with_the_socket_unit_loses_no_query(network: Namespace, host: Booted) -> None:
    host.systemctl("stop", SERVICE)
    host.systemctl("start", SOCKET)
    assert dig(network) == "192.0.2.1"  # the first query starts the service
    assert "rb16777216," in host.run("ss", "-Hlnum", "sport = :53").stdout  # 8 MiB and the kernel's share
    assert lost_over(network, host, ("restart", SERVICE), ("restart", SERVICE)) == 0
    assert host.show(SERVICE, "NFileDescriptorStore") == "1"


def test_killed_supervisor_has_a_successor_that_takes_over_from_its_workers(network: Namespace, host: Booted) -> None:
    restarts, former = int(host.show(SERVICE, "NRestarts")), processes_of(host)
    assert lost_over(network, host, ("kill", "--kill-whom=main", "--signal=SIGKILL", SERVICE)) == 0
    assert int(host.show(SERVICE, "NRestarts")) == restarts + 1
    assert host.show(SERVICE, "ActiveState") == "active"
    assert former.isdisjoint(processes_of(host)), "a worker outlived its supervisor"
    assert len(processes_of(host)) == len(former)
    assert host.run("/opt/forwarder/bin/forwarder", "flush", "--all").returncode == 0, "the control socket is the new one's"


def test_supervisor_that_hangs_is_replaced(network: Namespace, host: Booted) -> None:
    former = host.show(SERVICE, "MainPID")
    host.signal(SERVICE, "SIGSTOP")
    assert dig(network) == "192.0.2.1", "the workers do not hang"
    wait_for(lambda: host.show(SERVICE, "MainPID") not in {former, "0"}, "a successor")
    wait_for(lambda: host.show(SERVICE, "ActiveState") == "active", "it serves")
    assert dig(network) == "192.0.2.1"
    assert f"{SERVICE}: Watchdog timeout (limit 2s)!" in host.journal()


def test_stop_leaves_nothing(host: Booted) -> None:
    host.systemctl("stop", SERVICE)
    assert host.show(SERVICE, "Result") == "success"
    assert host.show(SERVICE, "NFileDescriptorStore") == "0"
    assert host.run("ls", "/run/forwarder").returncode != 0
    assert host.run("ss", "-Hlnu", "sport = :53").stdout == ""
    assert host.run("ls", "/var/lib/forwarder").stdout == "cache\n"


def test_wrong_configuration_that_is_mended_is_served(network: Namespace, host: Booted) -> None:
    host.systemctl("stop", SERVICE)
    host.write(CONFIG_PATH, "zones: nowhere")
    assert host.run("systemctl", "start", SERVICE).returncode != 0
    host.write(CONFIG_PATH, CONFIG)
    wait_for(lambda: dig(network, "+tries=1", "+time=1") == "192.0.2.1", "it serves")


def test_restrictions_of_the_node_unit_let_it_prepare_a_node(network: Namespace, installed: Booted) -> None:
    needs_program("nft", package="nftables")
    needs_program("iptables")
    installed.write(CONFIG_PATH, CONFIG + NODE % "nft")
    installed.systemctl("start", NODE_SERVICE)
    assert installed.show(NODE_SERVICE, "SubState") == "exited"
    assert "10.43.0.100/32" in network.run("ip", "address", "show", "forwarder0").stdout
    uid = installed.run("id", "-u", "forwarder").stdout.strip()
    assert f"meta skuid {uid} ip daddr 10.43.0.100" in network.run("nft", "-n", "list", "table", "inet", "forwarder").stdout
    installed.write(CONFIG_PATH, CONFIG + NODE.replace("10.43.0.100", "") % "iptables")
    installed.systemctl("reload", NODE_SERVICE)
    assert "-d 169.254.20.10/32 -p udp -m udp --dport 53" in network.run("iptables-save", "-t", "raw").stdout
    assert "table inet forwarder" not in network.run("nft", "list", "tables").stdout
    installed.systemctl("stop", NODE_SERVICE)
    assert installed.show(NODE_SERVICE, "Result") == "success"
    assert "FORWARDER" not in network.run("iptables-save").stdout
    assert network.run("ip", "link", "show", "forwarder0").returncode != 0
    installed.write(CONFIG_PATH, CONFIG)


def test_main_process_hands_its_place_to_another(installed: Booted) -> None:
    installed.write(SUCCESSION_PATH, SUCCESSION)
    installed.run("chmod", "755", SUCCESSION_PATH)
    installed.write(f"{UNITS}/succession.service", SUCCESSION_UNIT)
    installed.systemctl("daemon-reload")
    installed.systemctl("start", "succession.service")
    wait_for(lambda: installed.show("succession.service", "StatusText") == "successor", "the successor is heard")
    assert installed.show("succession.service", "ActiveState") == "active"
    installed.systemctl("stop", "succession.service")
