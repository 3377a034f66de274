"""The Dockerfile: linted, its steps taken in bare roots, and what comes of them started as the manifests say.

Proved, without a container engine: the wheels are made and installed without an index or a network; the unprivileged user binds
port 53 with NET_BIND_SERVICE alone and no new privileges, as runc starts it; it needs to write nowhere but to the control
socket's directory; the health check tells a daemon that runs from one that does not; the pod of an upgrade takes over from the
one before, across roots, process numbers and mounts. Not proved: that an engine builds it, what `apt-get` does in the base
image, the official Python, the seccomp profile, and the size; `make image` on a machine with an engine shows that.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.lab.bare_root import Container
from tests.lab.behaviours import TRUTH
from tests.lab.clients import HANG, Address, ask, query, rdatas
from tests.lab.dockerfile import stages
from tests.lab.image import Image
from tests.lab.kustomized import Manifest, rendered
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.patience import wait_for
from tests.lab.project import ROOT
from tests.lab.scripted import ScriptedUpstream

DOCKERFILE = ROOT / "Dockerfile"
HADOLINT = Path(sys.executable).parent / "hadolint"
KUBERNETES = ROOT / "config" / "kubernetes"
LINK_LOCAL, INTERCEPT = (KUBERNETES / "overlays" / name for name in ("link-local", "intercept"))
CLUSTER_DNS, SECOND_ADDRESS, OUTSIDE = "10.96.0.10", "10.96.0.11", "192.0.2.53"
NODE_LOCAL, INTERCEPTED = ("169.254.20.10", 53), (CLUSTER_DNS, 53)
NUMBERS = {"NET_BIND_SERVICE": 10, "NET_ADMIN": 12}


# --- as a text -------------------------------------------------------------------------------------------------------


def linted(text: str) -> list[str]:
    """The rules it breaks, of whatever weight."""
    command = [str(HADOLINT), "--format", "json", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=HANG, check=False)
    return [found["code"] for found in json.loads(done.stdout)]


def test_the_linter_says_nothing() -> None:
    assert linted(DOCKERFILE.read_text()) == []


def test_the_linter_would_say_something() -> None:
    """An unknown user switch by sudo, and the last stage without a fixed base."""
    assert linted("FROM python:latest\nRUN sudo true\n") == ["DL3007", "DL3004"]


def test_the_last_stage_is_nobody_s_root_and_says_what_it_is() -> None:
    _, last = stages(DOCKERFILE.read_text())
    labels = " ".join(one.rest for one in last.all_of("LABEL"))
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels
    assert last.last("STOPSIGNAL").rest == "SIGTERM"
    assert not last.all_of("COPY"), "nothing of the sources: wheels alone"


def test_only_what_the_wheel_is_made_of_is_sent_to_the_builder() -> None:
    first, _ = stages(DOCKERFILE.read_text())
    wanted = {source for one in first.all_of("COPY") for source in one.words()[:-1]}
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == wanted


# --- made, and run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a cluster, on which the first container of the manifest has run."""

    network: Namespace
    image: Image
    container: Container
    """How the main container is started there."""
    arguments: list[str]
    """What it is given."""

    def told(self, name: str, server: Address = NODE_LOCAL) -> list[str]:
        """The addresses that a name has by this server."""
        with self.network.inside():
            return rdatas(ask(server, query(name)))

    def is_healthy(self) -> bool:
        """What the image's own check says."""
        check = replace(self.container, capabilities=())
        return self.image.root.run(check, *self.image.health_command, namespace=self.network).returncode == 0

    def front_page(self) -> str:
        """What a person sees who forwards the port: the status page, of files that are no Python."""
        with self.network.inside():
            connection = http.client.HTTPConnection("127.0.0.1", 9253, timeout=HANG)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                return connection.getresponse().read().decode()

    def has(self, address: str) -> bool:
        return f" {address}/" in self.network.run("ip", "-o", "addr").stdout


class Pod:
    """The main container of the manifest, running on a node."""

    def __init__(self, node: Node, log: Path) -> None:
        self._log = log
        words = node.image.root.command(node.container, *node.image.entrypoint, *node.arguments)
        environment = node.image.root.environment(node.container)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                node.network.command(*words), cwd="/", env=environment, stdout=output, stderr=output
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def first_process(self) -> int:
        """The daemon, by its number outside: `unshare`'s one child."""
        (pid,) = map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())
        return pid

    def end(self) -> int:
        os.kill(self.first_process(), signal.SIGTERM)
        return self.process.wait(HANG)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def manifest(kind: str, folder: Path) -> Manifest:
    (found,) = (one for one in rendered(folder) if one["kind"] == kind)
    return found


def started_as(container: Manifest, volumes: dict[str, Path], image: Image) -> Container:
    """How a container of the manifest is started, the node's directories in place of its volumes."""
    security = container["securityContext"]
    assert (security["allowPrivilegeEscalation"], security["capabilities"]["drop"]) == (False, ["ALL"])
    return Container(
        uid=security["runAsUser"],
        gid=security["runAsGroup"],
        capabilities=tuple(NUMBERS[name] for name in security["capabilities"]["add"]),
        mounts={volumes[mount["name"]]: mount["mountPath"] for mount in container.get("volumeMounts", ())},
        read_only=security["readOnlyRootFilesystem"],
        environment=image.environment,
    )


def directories(place: Path, config_map: Manifest) -> dict[str, Path]:
    """The ConfigMap, and what is mounted of a node with systemd-resolved."""
    found = {name: place / name for name in ("config", "control", "host-etc", "host-resolved")}
    for directory in found.values():
        directory.mkdir(mode=0o755)
    for name, text in config_map["data"].items():
        (found["config"] / name).write_text(text)
    (found["host-etc"] / "resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    for name in ("resolv.conf", "stub-resolv.conf"):
        (found["host-resolved"] / name).write_text(f"nameserver {OUTSIDE}\n")
    return found


@contextlib.contextmanager
def node_for(folder: Path, image: Image, network: Network, place: Path) -> Iterator[Node]:
    """A node's network with DNS servers in it, and the first container of this overlay run in it."""
    role = folder.name.partition("-")[0]
    namespace = network.namespace(role)
    with contextlib.ExitStack() as servers:
        for address in (OUTSIDE, SECOND_ADDRESS if folder == INTERCEPT else CLUSTER_DNS):
            namespace.add_address(f"{address}/32")
            with namespace.inside():
                server = servers.enter_context(ScriptedUpstream(address, 53))
            server.default = TRUTH
        volumes = directories(place, manifest("ConfigMap", folder))
        spec = manifest("DaemonSet", folder)["spec"]["template"]["spec"]
        assert {volume["name"] for volume in spec["volumes"]} == volumes.keys()
        (first,), (main,) = spec["initContainers"], spec["containers"]
        done = image.root.run(started_as(first, volumes, image), *first["command"], namespace=namespace)
        assert done.returncode == 0, done.stderr
        yield Node(namespace, image, started_as(main, volumes, image), main["args"])


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    needs_namespaces()
    with Network() as made:
        yield made


@pytest.fixture(scope="module")
def image(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Image:
    needs_program("ldconfig", package="libc-bin")
    needs_program("setcap", package="libcap2-bin")
    needs_program("nft", package="nftables")
    return Image(tmp_path_factory.mktemp("roots"), network.namespace("offline"))


@pytest.fixture(scope="module")
def node(image: Image, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with node_for(LINK_LOCAL, image, network, tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture
def pods() -> Iterator[list[Pod]]:
    """Those that a test starts; whatever becomes of it, they end with it."""
    started: list[Pod] = []
    yield started
    for pod in started:
        pod.kill()


def test_wheels_alone_remain(image: Image) -> None:
    """No compiler, no pip in the daemon's environment, no wheel, no source."""
    opt = image.root.place / "opt" / "forwarder"
    assert (opt / "bin" / "forwarder").exists()
    assert not list(opt.glob("lib/*/site-packages/pip"))
    assert not [name for name in ("gcc", "cc", "make") if (image.root.place / "usr" / "bin" / name).exists()]
    assert not list(image.root.place.glob("wheels/*"))
    compiled = list(opt.glob("lib/*/site-packages/forwarder/__pycache__/*.pyc"))
    assert compiled, "on a read-only root it would be compiled at every start"


def test_the_user_is_known_and_has_its_directory(image: Image) -> None:
    assert "forwarder:x:65532:65532:" in (image.root.place / "etc" / "passwd").read_text()
    status = (image.root.place / "run" / "forwarder").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (*image.user, 0o700)


def test_it_binds_port_53_as_a_user_and_its_health_is_told(node: Node, pods: list[Pod], tmp_path: Path) -> None:
    assert (node.container.uid, node.container.capabilities, node.container.read_only) == (65532, (10,), True)
    pods.append(Pod(node, tmp_path / "log"))
    wait_for(node.is_healthy, "the health check is content")
    assert node.front_page().startswith("<!doctype html>")
    assert node.told("web.shop.svc.cluster.local") == ["192.0.2.1"]
    assert node.told("example.com") == ["192.0.2.1"], "by the node's resolv.conf, through its link"
    assert f". asks {OUTSIDE}:53 over UDP (from /run/systemd/resolve/resolv.conf, /host-etc/resolv.conf)" in pods[0].log
    assert pods[0].end() == 0
    assert not node.is_healthy()
    assert "Traceback" not in pods[0].log
    assert "does not exist" not in pods[0].log


def test_without_the_capability_it_says_what_is_missing(node: Node, pods: list[Pod], tmp_path: Path) -> None:
    pods.append(Pod(replace(node, container=replace(node.container, capabilities=())), tmp_path / "log"))
    assert pods[0].process.wait(HANG) == 1
    assert "not permitted: ports below 1024 need root or CAP_NET_BIND_SERVICE" in pods[0].log


def test_the_pod_of_an_upgrade_takes_over(node: Node, pods: list[Pod], tmp_path: Path) -> None:
    """Side by side, as maxSurge has them: the first gives all away, stays lest it be started again, and is told to go."""
    pods.append(Pod(node, tmp_path / "first"))
    wait_for(node.is_healthy, "the first serves")
    assert node.told("known.test") == ["192.0.2.1"]
    pods.append(Pod(node, tmp_path / "second"))
    wait_for(lambda: "took over from pid 1" in pods[1].log, "the second serves")
    wait_for(lambda: b"sigwait" in Path(f"/proc/{pods[0].first_process()}/cmdline").read_bytes(), "the first waits")
    assert node.is_healthy()
    assert node.told("known.test") == ["192.0.2.1"]
    assert pods[0].end() == 0
    assert node.told("new.test") == ["192.0.2.1"]
    assert pods[1].end() == 0


def test_the_service_address_is_answered_and_all_is_taken_away(
    image: Image, network: Network, pods: list[Pod], tmp_path: Path
) -> None:
    """The other overlay, and then the manifest that undoes it."""
    with node_for(INTERCEPT, image, network, tmp_path) as node:
        assert node.has(CLUSTER_DNS)
        pods.append(Pod(node, tmp_path / "log"))
        wait_for(node.is_healthy, "it serves")
        assert node.told("web.shop.svc.cluster.local", INTERCEPTED) == ["192.0.2.1"]
        assert node.told("web.shop.svc.cluster.local") == ["192.0.2.1"]
        wait_for(lambda: CLUSTER_DNS in node.network.run("nft", "list", "ruleset").stdout.partition("elements")[2], "renewed")
        assert pods[0].end() == 0
        (down,) = manifest("DaemonSet", KUBERNETES / "down")["spec"]["template"]["spec"]["initContainers"]
        done = image.root.run(started_as(down, {}, image), *image.entrypoint, *down["args"], namespace=node.network)
        assert done.returncode == 0, done.stderr
        assert not node.has(CLUSTER_DNS)
        assert not node.has(NODE_LOCAL[0])
        assert node.network.run("nft", "list", "ruleset").stdout == ""
