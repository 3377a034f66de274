"""The manifests of config/kubernetes: valid by the published schemas, and such that they work together with the daemon.

Proved: what `tests.lab.kustomized` makes of the folders is valid, strictly, by the API's schemas of the oldest and the newest
release of Kubernetes that the validator has; their paths, numbers and users agree with each other, with the configuration and
with the Dockerfile. Not proved: that a newer kustomize makes the same of the folders, and that a cluster runs it. How an
unprivileged container binds port 53, what its image does, and what one pod is to the next: `tests/test_dockerfile.py`,
`tests/scenarios/test_takeover_of_containers.py`.
"""

import copy
import shutil
import subprocess
import tomllib
from pathlib import Path, PurePosixPath

import kubernetes_validate
import pytest

from forwarder import config_file
from forwarder.config import Config, doors_of, split_address
from tests.lab.kustomized import Manifest, containers, rendered
from tests.lab.project import ROOT
from tests.lab.prometheus import relabelled

KUBERNETES = ROOT / "config" / "kubernetes"
OVERLAYS = ("overlays/link-local", "overlays/intercept")
FOLDERS = (*OVERLAYS, "metrics", "down")
OF_OTHERS = ("monitoring",)
"""With kinds that the API server does not have of its own."""
OLDEST = "1.25"
"""From here on a DaemonSet may surge without a feature gate."""
NEWEST = kubernetes_validate.utils.major_minor(kubernetes_validate.latest_version())
USER = 65532
PROBES = {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}
MANIFESTS = {folder: rendered(KUBERNETES / folder) for folder in (*FOLDERS, *OF_OTHERS)}


def of_kind(kind: str, folder: str) -> Manifest:
    (found,) = (manifest for manifest in MANIFESTS[folder] if manifest["kind"] == kind)
    return found


def pod(folder: str) -> Manifest:
    spec: Manifest = of_kind("DaemonSet", folder)["spec"]["template"]["spec"]
    return spec


def main(folder: str) -> Manifest:
    (container,) = pod(folder)["containers"]
    assert isinstance(container, dict)
    return container


def first(folder: str) -> Manifest:
    (container,) = pod(folder)["initContainers"]
    assert isinstance(container, dict)
    return container


def configuration(folder: str) -> Config:
    (text,) = of_kind("ConfigMap", folder)["data"].values()
    return config_file.parsed(text, "forwarder.yaml")


def mounts(container: Manifest) -> dict[str, str]:
    """Path in the container -> volume."""
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


# --- by the schemas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("folder", FOLDERS)
def test_valid_by_the_published_schemas(folder: str, version: str) -> None:
    for manifest in MANIFESTS[folder]:
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_the_schemas_would_say_what_they_do_not_know() -> None:
    wrong = copy.deepcopy(of_kind("DaemonSet", OVERLAYS[0]))
    wrong["spec"]["template"]["spec"]["hostNetworks"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="hostNetworks"):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


# --- one pod after the other -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", OVERLAYS)
class TestUpgrade:
    def test_the_new_pod_starts_beside_the_old_one(self, folder: str) -> None:
        spec = of_kind("DaemonSet", folder)["spec"]
        assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        assert spec["minReadySeconds"] >= 10, "the old pod answers the new one's probes until it was taken over"

    @pytest.mark.parametrize("other", [*OVERLAYS, "down"])
    def test_no_port_that_two_pods_of_a_node_could_not_both_have(self, folder: str, other: str) -> None:
        assert all("ports" not in container for each in (folder, other) for container in containers(of_kind("DaemonSet", each)))

    def test_they_find_each_other_by_the_node_s_own_directory(self, folder: str) -> None:
        control = PurePosixPath(configuration(folder).observe.control)
        volume = mounts(main(folder))[str(control.parent)]
        (mounted,) = (one for one in pod(folder)["volumes"] if one["name"] == volume)
        assert mounted["hostPath"] == {"path": str(control.parent), "type": "DirectoryOrCreate"}
        assert mounts(first(folder))[str(control.parent)] == volume, "made the daemon's there"
        assert not any(mount.get("readOnly") for mount in main(folder)["volumeMounts"] if mount["name"] == volume)

    def test_longer_to_stop_than_it_takes(self, folder: str) -> None:
        assert pod(folder)["terminationGracePeriodSeconds"] > 3


# --- what it may do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", OVERLAYS)
class TestPrivileges:
    def test_root_has_one_capability_and_ends_at_once(self, folder: str) -> None:
        security = first(folder)["securityContext"]
        assert security["runAsUser"] == 0
        assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
        assert security["runAsGroup"] == USER, "or giving the directory away would take a second capability"

    def test_the_daemon_is_a_user_with_one_capability(self, folder: str) -> None:
        security = main(folder)["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"], security["runAsGroup"]) == (True, USER, USER)
        assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
        assert pod(folder)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}

    def test_nothing_escalates_or_writes(self, folder: str) -> None:
        for container in (*containers(of_kind("DaemonSet", folder)), *containers(of_kind("DaemonSet", "down"))):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert not container["securityContext"].get("privileged")
        read_only = {mount["name"] for mount in main(folder)["volumeMounts"] if mount.get("readOnly")}
        assert {volume["name"] for volume in pod(folder)["volumes"]} - read_only == {"control"}

    def test_the_api_server_is_not_asked(self, folder: str) -> None:
        assert of_kind("ServiceAccount", folder)["automountServiceAccountToken"] is False
        assert pod(folder)["automountServiceAccountToken"] is False
        assert pod(folder)["serviceAccountName"] == of_kind("ServiceAccount", folder)["metadata"]["name"]
        assert not [one for one in MANIFESTS[folder] if "Role" in one["kind"]]


# --- where it runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [*OVERLAYS, "down"])
def test_on_every_node_before_all_others(folder: str) -> None:
    spec = pod(folder)
    assert spec["hostNetwork"] is True
    assert spec["dnsPolicy"] == "Default"
    assert spec["priorityClassName"] == "system-node-critical"
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert all(manifest["metadata"]["namespace"] == "kube-system" for manifest in MANIFESTS[folder])


@pytest.mark.parametrize("folder", [*OVERLAYS, "down"])
def test_selectors_choose_their_own_pods_alone(folder: str) -> None:
    spec = of_kind("DaemonSet", folder)["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    other = of_kind("DaemonSet", OVERLAYS[0] if folder == "down" else "down")["spec"]
    assert spec["selector"] != other["selector"]


@pytest.mark.parametrize("folder", OVERLAYS)
def test_resources_have_room_for_what_was_measured(folder: str) -> None:
    resources = main(folder)["resources"]
    assert "cpu" not in resources["limits"], "a throttled daemon stalls every pod of the node"
    request, limit = (int(resources[which]["memory"].removesuffix("Mi")) for which in ("requests", "limits"))
    cache = configuration(folder).cache.memory >> 20
    assert request >= 52 + cache, "51.2 MB PSS empty (benchmarks/RESULTS.md)"
    assert limit >= 2 * request, "two generations, for a moment"


# --- manifests, configuration and image agree ------------------------------------------------------------------------


@pytest.mark.parametrize("folder", OVERLAYS)
class TestConfiguration:
    def test_it_is_the_file_that_both_containers_read(self, folder: str) -> None:
        config_map = of_kind("ConfigMap", folder)
        (volume,) = (one for one in pod(folder)["volumes"] if "configMap" in one)
        assert volume["configMap"] == {"name": config_map["metadata"]["name"]}, "a directory: a file of it would never change"
        (file,) = config_map["data"]
        for container, words in ((main(folder), main(folder)["args"]), (first(folder), first(folder)["command"][-1].split())):
            path = PurePosixPath(words[words.index("--config") + 1])
            assert mounts(container)[str(path.parent)] == volume["name"]
            assert path.name == file
            assert all("subPath" not in mount for mount in container["volumeMounts"])

    def test_it_loads(self, folder: str) -> None:
        config = configuration(folder)
        assert [split_address(address) for address in config.listen.addresses] == [("169.254.20.10", 53)]

    def test_every_file_that_it_names_is_mounted_from_the_node_as_a_directory(self, folder: str) -> None:
        config = configuration(folder)
        files = {one for zone in config.zones for one in zone.upstreams if one.startswith("/")}
        assert files
        host_paths = {volume["name"]: volume["hostPath"] for volume in pod(folder)["volumes"] if "hostPath" in volume}
        for file in files:
            (path,) = (path for path in mounts(main(folder)) if PurePosixPath(file).is_relative_to(path))
            assert host_paths[mounts(main(folder))[path]]["type"].startswith("Directory")
        assert config.cache.snapshot is None
        assert config.hosts.files == ()

    def test_links_of_the_node_lead_to_where_they_lead_there(self, folder: str) -> None:
        """/etc/resolv.conf is `../run/systemd/resolve/stub-resolv.conf` on a node with systemd-resolved."""
        assert {"/host-etc", "/run/systemd/resolve"} <= mounts(main(folder)).keys()
        assert PurePosixPath("/host-etc").parent == PurePosixPath("/etc").parent

    def test_probes_ask_where_the_pages_are(self, folder: str) -> None:
        host, port = split_address(configuration(folder).observe.http)
        for probe, page in PROBES.items():
            assert main(folder)[probe]["httpGet"] == {"host": host, "port": port, "path": page}

    def test_who_runs_it_is_told_to_the_rules(self, folder: str) -> None:
        assert f"node up --config /etc/forwarder/forwarder.yaml --user {USER}" in first(folder)["command"][-1]
        assert configuration(folder).user is None, "it is that user from its start"


def test_the_link_local_overlay_intercepts_nothing() -> None:
    assert configuration("overlays/link-local").node.intercept == ()


def test_what_is_intercepted_is_never_asked_and_the_second_service_is() -> None:
    config = configuration("overlays/intercept")
    service = of_kind("Service", "overlays/intercept")["spec"]
    asked = {split_address(one)[0] for zone in config.zones for one in zone.upstreams if not one.startswith("/")}
    assert asked == {service["clusterIP"]}
    assert config.node.intercept == ("10.96.0.10",)
    assert [split_address(one)[0] for one in doors_of(config)] == ["169.254.20.10", "10.96.0.10"]
    assert service["selector"] == {"k8s-app": "kube-dns"}
    assert {(port["protocol"], port["port"]) for port in service["ports"]} == {("UDP", 53), ("TCP", 53)}


def test_both_overlays_differ_in_nothing_else() -> None:
    """One configuration was made from the other: what is said of the one holds for the other."""
    link_local, intercept = (KUBERNETES / path for path in ("base/forwarder.yaml", "overlays/intercept/forwarder.yaml"))
    settings = [[line.partition("#")[0].rstrip() for line in file.read_text().splitlines()] for file in (link_local, intercept)]
    changed = set(settings[1]) - set(settings[0])
    assert changed == {"node:", '  intercept: ["10.96.0.10"]', '    upstreams: ["10.96.0.11"]'}


def test_the_image_is_this_version_and_its_user_is_ours() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {one["image"] for folder in FOLDERS for manifest in MANIFESTS[folder] for one in containers(manifest)}
    assert images == {f"forwarder:{version}"}
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"USER {USER}:{USER}\n" in dockerfile
    assert f"ARG VERSION={version}\n" in dockerfile


def test_metrics_are_found_at_the_daemon_s_pods() -> None:
    service = of_kind("Service", "metrics")["spec"]
    labels = of_kind("DaemonSet", OVERLAYS[0])["spec"]["template"]["metadata"]["labels"]
    assert (service["clusterIP"], service["selector"]) == ("None", labels)
    (port,) = service["ports"]
    assert port["targetPort"] == split_address(configuration(OVERLAYS[0]).observe.http)[1]


def test_the_operator_s_prometheus_finds_them_though_they_declare_no_port(tmp_path: Path) -> None:
    """Of one without a port the operator makes its relabelings and no more (pkg/prometheus/promcfg.go): those are tried."""
    monitor = of_kind("PodMonitor", "monitoring")["spec"]
    labels = of_kind("DaemonSet", OVERLAYS[0])["spec"]["template"]["metadata"]["labels"]
    port = split_address(configuration(OVERLAYS[0]).observe.http)[1]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert monitor["selector"] == {"matchLabels": labels}
    assert {"port", "portNumber", "targetPort"}.isdisjoint(endpoint)
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    relabelings = [{names.get(key, key): value for key, value in one.items()} for one in endpoint["relabelings"]]
    pods = [
        ("192.0.2.7", main(OVERLAYS[0])["name"]),
        ("2001:db8::7", main(OVERLAYS[0])["name"]),
        ("192.0.2.7", first(OVERLAYS[0])["name"]),
    ]
    found = [
        {"__meta_kubernetes_pod_ip": ip, "__meta_kubernetes_pod_container_name": name, "__meta_kubernetes_pod_node_name": "n"}
        for ip, name in pods
    ]
    seen = relabelled(relabelings, [(labels["__meta_kubernetes_pod_ip"], labels) for labels in found], tmp_path)
    assert [(one.get("__address__"), one.get("node")) for one in seen] == [
        (f"192.0.2.7:{port}", "n"),
        (f"[2001:db8::7]:{port}", "n"),
        (None, None),
    ]


def test_what_takes_the_node_s_pieces_away_needs_nothing_else() -> None:
    """The configuration may be gone already."""
    assert first("down")["args"] == ["node", "down"]
    assert first("down")["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert "volumes" not in pod("down")


def test_the_guide_names_every_folder() -> None:
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    assert all(f"config/kubernetes/{folder}" in guide for folder in (*FOLDERS, *OF_OTHERS))


def test_beside_nodelocal_dnscache_as_its_page_says(tmp_path: Path) -> None:
    """The commands of the page, on a copy: another address, and one other port for pages and probes alike."""
    shutil.copytree(KUBERNETES, tmp_path, dirs_exist_ok=True)
    page = (ROOT / "docs" / "from-nodelocal-dnscache.md").read_text()
    commands = [line.strip() for line in page.splitlines() if line.startswith("    sed -i ")]
    assert len(commands) == 2
    for command in commands:
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, timeout=30)
    manifests = {one["kind"]: one for one in rendered(tmp_path / "overlays" / "link-local")}
    config = config_file.parsed(manifests["ConfigMap"]["data"]["forwarder.yaml"], "forwarder.yaml")
    assert (config.listen.addresses, config.observe.http) == (("169.254.20.11:53",), "127.0.0.1:9254")
    (container,) = manifests["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert {container[probe]["httpGet"]["port"] for probe in PROBES} == {9254}
