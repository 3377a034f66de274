"""What the modules of the project import, read from their sources."""

import ast
import sys
from collections.abc import Iterator, Mapping

PACKAGE = "forwarder"


def module_for(path: str) -> str:
    """`forwarder/wire/message.py` -> `wire.message`; the package itself is called `forwarder`."""
    parts = path.removesuffix(".py").split("/")[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or PACKAGE


def packages_around(module: str) -> list[str]:
    """`a.b.c` -> `a.b`, `a`: the packages Python loads first."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


def is_below(module: str, tops: tuple[str, ...]) -> bool:
    return any(module == top or module.startswith(f"{top}.") for top in tops)


def imported(source: str) -> Iterator[str]:
    """Every name a source imports, in full: `from a import b` is `a.b`, a relative import starts with a dot."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def ours_imported(source: str) -> Iterator[str]:
    """What a source imports of ours, without the leading `forwarder.`; facts about the package (`__version__`) left out."""
    for name in imported(source):
        top, _, rest = name.partition(".")
        if top == PACKAGE and not (rest.startswith("__") and rest != "__main__"):
            yield rest or PACKAGE


def packages_imported(source: str) -> set[str]:
    """The packages a source imports that are neither ours nor Python's."""
    tops = {name.partition(".")[0] for name in imported(source) if not name.startswith(".")}
    return tops - sys.stdlib_module_names - {PACKAGE}


def imports_among(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Module -> modules of ours it imports, for a mapping of path -> source."""
    names = {module_for(path) for path in modules}

    def resolved(name: str) -> str | None:
        return next((module for module in (name, *packages_around(name)) if module in names), None)

    return {
        module_for(path): {found for name in ours_imported(source) if (found := resolved(name))}
        for path, source in modules.items()
    }
