"""The Dockerfile: linted, its steps taken in bare roots, and what comes of them started as the manifests say.

Proved, without a container engine: the wheels are made and installed without an index or a network; the unprivileged user binds
port 53 with NET_BIND_SERVICE alone and no new privileges, as runc starts it; it needs to write nowhere but to the control
socket's directory; the health check tells a daemon that runs from one that does not; the pod of an upgrade takes over from the
one before, across roots, process numbers and mounts. Not proved: that an engine builds it, what `apt-get` does in the base
image, the official Python, the seccomp profile, and the size; `make image` on a machine with an engine shows that.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.bare_root import Container
from tests.lab.behaviours import TRUTH
from tests.lab.clients import HANG, ask, query, rdatas
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
OVERLAY = ROOT / "config" / "kubernetes" / "overlays" / "link-local"
CLUSTER_DNS = "10.96.0.10"
NODE_LOCAL = ("169.254.20.10", 53)
NUMBERS = {"NET_BIND_SERVICE": 10, "NET_ADMIN": 12}
UP = re.compile(r"exec (/opt/forwarder/bin/forwarder) node up .*")
"""Of the first container: what it does to the node is `tests/scenarios/test_node.py`'s."""


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


class Pod:
    """The main container of the manifest, running in the node's network."""

    def __init__(self, image: Image, node: Namespace, container: Container, log: Path) -> None:
        self._image, self._node, self._container, self._log = image, node, container, log
        (main,) = daemon_set()["spec"]["template"]["spec"]["containers"]
        words = image.root.command(container, *image.entrypoint, *main["args"])
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                node.command(*words), cwd="/", env=image.root.environment(container), stdout=output, stderr=output
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def is_healthy(self) -> bool:
        """What the image's own check says, run beside it."""
        check = replace(self._container, capabilities=())
        return self._image.root.run(check, *self._image.health_command, namespace=self._node).returncode == 0

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


def daemon_set() -> Manifest:
    (found,) = (manifest for manifest in rendered(OVERLAY) if manifest["kind"] == "DaemonSet")
    return found


def started_as(container: Manifest, volumes: dict[str, Path], image: Image) -> Container:
    """How a container of the manifest is started, the node's directories in place of its volumes."""
    security = container["securityContext"]
    assert (security["allowPrivilegeEscalation"], security["capabilities"]["drop"]) == (False, ["ALL"])
    return Container(
        uid=security["runAsUser"],
        gid=security["runAsGroup"],
        capabilities=tuple(NUMBERS[name] for name in security["capabilities"]["add"]),
        mounts={volumes[mount["name"]]: mount["mountPath"] for mount in container["volumeMounts"]},
        read_only=security["readOnlyRootFilesystem"],
        environment=image.environment,
    )


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
    place = tmp_path_factory.mktemp("roots")
    for directory in (place, place.parent):
        directory.chmod(0o755)  # the way of another user to its root
    return Image(place, network.namespace("offline"))


@pytest.fixture(scope="module")
def node(network: Network) -> Iterator[Namespace]:
    """A node's network with the cluster's DNS in it, and the address that `node up` would have made."""
    made = network.namespace("node")
    for address in (CLUSTER_DNS, NODE_LOCAL[0]):
        made.add_address(f"{address}/32")
    with made.inside():
        server = ScriptedUpstream(CLUSTER_DNS, 53)
    with server:
        server.default = TRUTH
        yield made


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directories of a node with systemd-resolved, and the ConfigMap."""
    place = tmp_path_factory.mktemp("host")
    found = {name: place / name for name in ("config", "control", "host-etc", "host-resolved")}
    for directory in found.values():
        directory.mkdir(mode=0o755)
    (config_map,) = (manifest for manifest in rendered(OVERLAY) if manifest["kind"] == "ConfigMap")
    for name, text in config_map["data"].items():
        (found["config"] / name).write_text(text)
    (found["host-etc"] / "resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    for name in ("resolv.conf", "stub-resolv.conf"):
        (found["host-resolved"] / name).write_text(f"nameserver {CLUSTER_DNS}\n")
    return found


@pytest.fixture(scope="module")
def prepared(image: Image, node: Namespace, volumes: dict[str, Path]) -> Container:
    """The first container has run; how the main one is started."""
    spec = daemon_set()["spec"]["template"]["spec"]
    (first,) = spec["initContainers"]
    *shell, script = first["command"]
    script, count = UP.subn(r"exec \1 --version", script)
    assert count == 1
    done = image.root.run(started_as(first, volumes, image), *shell, script, namespace=node)
    assert (done.returncode, done.stdout) == (0, "forwarder 0.1.0\n"), done.stderr
    assert {volume["name"] for volume in spec["volumes"]} == volumes.keys()
    return started_as(spec["containers"][0], volumes, image)


def answered(node: Namespace, name: str) -> list[str]:
    with node.inside():
        return rdatas(ask(NODE_LOCAL, query(name)))


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


def test_it_binds_port_53_as_a_user_and_its_health_is_told(
    image: Image, node: Namespace, prepared: Container, tmp_path: Path
) -> None:
    assert (prepared.uid, prepared.capabilities, prepared.read_only) == (65532, (10,), True)
    pod = Pod(image, node, prepared, tmp_path / "log")
    try:
        wait_for(pod.is_healthy, "the health check is content")
        assert answered(node, "web.shop.svc.cluster.local") == ["192.0.2.1"]
        assert answered(node, "example.com") == ["192.0.2.1"], "by the node's resolv.conf, through its link"
        assert f". asks {CLUSTER_DNS}:53 over UDP (from /run/systemd/resolve/resolv.conf, /host-etc/resolv.conf)" in pod.log
        assert pod.end() == 0
    finally:
        pod.kill()
    assert not pod.is_healthy()
    assert "Traceback" not in pod.log
    assert "does not exist" not in pod.log


def test_without_the_capability_it_says_what_is_missing(
    image: Image, node: Namespace, prepared: Container, tmp_path: Path
) -> None:
    pod = Pod(image, node, replace(prepared, capabilities=()), tmp_path / "log")
    try:
        assert pod.process.wait(HANG) == 1
    finally:
        pod.kill()
    assert "not permitted: ports below 1024 need root or CAP_NET_BIND_SERVICE" in pod.log


def test_the_pod_of_an_upgrade_takes_over(image: Image, node: Namespace, prepared: Container, tmp_path: Path) -> None:
    """Side by side, as maxSurge has them: the first gives all away, stays lest it be started again, and is told to go."""
    pods = [Pod(image, node, prepared, tmp_path / "first")]
    try:
        wait_for(pods[0].is_healthy, "the first serves")
        assert answered(node, "known.test") == ["192.0.2.1"]
        pods.append(Pod(image, node, prepared, tmp_path / "second"))
        wait_for(lambda: "took over from pid 1" in pods[1].log, "the second serves")
        wait_for(lambda: b"sigwait" in Path(f"/proc/{pods[0].first_process()}/cmdline").read_bytes(), "the first waits")
        assert pods[1].is_healthy()
        assert answered(node, "known.test") == ["192.0.2.1"]
        assert pods[0].end() == 0
        assert answered(node, "new.test") == ["192.0.2.1"]
        assert pods[1].end() == 0
    finally:
        for pod in pods:
            pod.kill()
