"""The project as files: what is in it, what tools leave behind left out."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def project_files() -> Iterator[str]:
    """Every file of the project, as a path below its root; what tools leave behind is left out."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in {".git", ".venv", ".hypothesis", "__pycache__", "build", "dist"}
            and not name.endswith(("_cache", ".egg-info"))
        ]
        yield from ((Path(folder) / name).relative_to(ROOT).as_posix() for name in files)


def sources(*tops: str) -> dict[str, str]:
    """Path -> text of the Python files below these top folders."""
    return {
        path: (ROOT / path).read_text()
        for path in sorted(project_files())
        if path.endswith(".py") and path.split("/")[0] in tops
    }
