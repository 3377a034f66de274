"""What `kubectl apply -k` sends for a folder: the part of kustomize that our folders use, and not a word more.

Always holds: a key that is not read here is refused, so that nothing is passed over. It is a reading of kustomize's
documentation; kustomize itself is not on PyPI, and what it makes of these folders is not proved by it.
"""

from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

_KEYS = {"apiVersion", "kind", "resources", "configMapGenerator", "images"}
_GENERATOR_KEYS = {"name", "namespace", "behavior", "files", "options"}
_OPTIONS = {"disableNameSuffixHash", "labels"}
_IMAGE_KEYS = {"name", "newName", "newTag"}


def rendered(folder: Path) -> list[Manifest]:
    """Every manifest of this folder and those that it builds on. Raises ValueError where it is not as we use it."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    _ensure_known(kustomization, _KEYS)
    manifests: list[Manifest] = []
    for resource in kustomization.get("resources", ()):
        place = folder / resource
        manifests += rendered(place) if place.is_dir() else yaml.safe_load_all(place.read_text())
    for generator in kustomization.get("configMapGenerator", ()):
        _generate(folder, generator, manifests)
    for image in kustomization.get("images", ()):
        _ensure_known(image, _IMAGE_KEYS)
        for container in (one for manifest in manifests for one in containers(manifest)):
            if container["image"].partition(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    names = [identity(manifest) for manifest in manifests]
    if len(names) != len(set(names)):
        raise ValueError(f"{folder}: {names} are not all different")
    return manifests


def containers(manifest: Manifest) -> list[Manifest]:
    """Those of a manifest's pods, the ones that begin and end before first."""
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
    return [*pod.get("initContainers", ()), *pod.get("containers", ())]


def identity(manifest: Manifest) -> tuple[str, str, str]:
    """What makes it this one in a cluster."""
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _generate(folder: Path, generator: Manifest, manifests: list[Manifest]) -> None:
    _ensure_known(generator, _GENERATOR_KEYS)
    options = generator.get("options", {})
    _ensure_known(options, _OPTIONS)
    if options.get("disableNameSuffixHash") is not True:
        raise ValueError(f"{folder}: the name of {generator['name']} would change with what is in it")
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {key: generator[key] for key in ("name", "namespace")} | {"labels": options.get("labels", {})},
        "data": {Path(file).name: (folder / file).read_text() for file in generator["files"]},
    }
    places = [place for place, manifest in enumerate(manifests) if identity(manifest) == identity(made)]
    if generator.get("behavior", "create") == "create" and not places:
        manifests.append(made)
    elif generator.get("behavior") == "replace" and len(places) == 1:
        manifests[places[0]] = made
    else:
        raise ValueError(f"{folder}: nothing to replace, or to create anew: {identity(made)}")


def _ensure_known(mapping: Manifest, keys: set[str]) -> None:
    if unknown := mapping.keys() - keys:
        raise ValueError(f"{sorted(unknown)}: kustomize may know that, this does not")
