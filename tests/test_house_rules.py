"""The house rules, each a function over a file's path and text, each shown to catch what it is there to catch.

The table `ROOMS` is the architecture: who may import whom. A module that is not in it is a problem too.
Nothing here is excused by a comment: to allow an import, change the table.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.imports import (
    PACKAGE,
    imported,
    imports_among,
    is_below,
    module_for,
    ours_imported,
    packages_around,
    packages_imported,
)
from tests.lab.project import ROOT, project_files, sources


@dataclass(frozen=True, slots=True)
class Room:
    """What the modules of one room may import besides each other and the standard library."""

    rooms: str = ""
    """Rooms of ours, by name; a room includes the modules below it."""
    packages: str = ""
    """Packages from elsewhere."""


LEAVES = "errors levels link observe.counters"
FIGURES = "observe.overview observe.reading observe.history observe.advice"
WRITTEN = "observe.exposition observe.sums observe.coredns_names"
HTTP = "starlette uvicorn"
OF_THE_MACHINE = "observe.conntrack observe.processes"
PARENT = "beside hearing intercepting systemd privileges holdings succession showing"
PARENT += " greeting flushes dumps handover control watching config terminal"
BEFORE = "collecting fence orphan control"
HEARD = "observe.notes observe.names observe.query_log"
GENERATIONS = "adoption sockets snapshot_file following workers generation"

ROOMS: Mapping[str, Room] = {
    **dict.fromkeys(("forwarder", "errors", "levels", "collecting", "steering", "observe", "observe.counters"), Room()),
    **dict.fromkeys(("flapping", "systemd", "capabilities", "usage"), Room()),
    **dict.fromkeys(("terminal", "beside"), Room("levels")),
    "link": Room(packages="msgspec"),
    "observe.notes": Room("observe.counters", "msgspec"),
    # The data plane.
    "wire": Room("errors", "msgspec"),
    "cache": Room("wire errors", "msgspec"),
    "upstream": Room("wire errors observe.counters"),
    "serving": Room("cache upstream wire errors observe.counters observe.notes", "msgspec"),
    "snapshotting": Room("steering cache wire link errors"),
    "orphan": Room("handover control levels link errors terminal"),
    "terms": Room("serving cache upstream wire config"),
    "worker": Room(f"{BEFORE} terminal snapshotting terms serving cache upstream wire config {LEAVES}", "uvloop msgspec"),
    # What a person wrote, and the host.
    "config": Room("errors", "msgspec"),
    "control": Room("levels errors", "msgspec"),
    "config_file": Room("config errors", "msgspec yaml"),
    "hosts": Room("errors link", "dnslib"),
    "node": Room("node.links arguments config config_file errors terminal"),
    "node.links": Room("node errors", "pyroute2"),
    "node.resolv_conf": Room("errors"),
    "importing": Room("arguments config config_file errors", "msgspec yaml"),
    **dict.fromkeys(("fence", "privileges"), Room("capabilities errors")),
    "lookup": Room("node.resolv_conf lookup.settings wire errors terminal", "dnslib"),
    "lookup.settings": Room("node.resolv_conf"),
    "doctor": Room("arguments config config_file lookup.settings node.resolv_conf observe.conntrack wire errors", "msgspec"),
    "meant": Room("config_file control"),
    "inside": Room("lookup cache wire control observe.overview link errors terminal", "msgspec"),
    "top": Room("inside arguments meant control observe.overview errors terminal", "rich"),
    # The supervisor and its parts, the pages and the command line.
    "observe.overview": Room("observe.counters", "msgspec"),
    "observe.reading": Room("observe.overview observe.sums observe.counters"),
    **dict.fromkeys(("observe.history", "observe.advice"), Room("observe.overview")),
    **dict.fromkeys(("observe.conntrack", "observe.processes"), Room()),
    "observe.exposition": Room(packages="prometheus_client"),
    "observe.sums": Room("observe.counters"),
    "observe.coredns_names": Room("observe.counters observe.sums observe.exposition"),
    "observe.metrics": Room("observe.counters observe.sums observe.exposition observe.coredns_names observe.conntrack"),
    "observe.changes": Room("observe.overview observe.counters flapping levels"),
    **dict.fromkeys(("observe.streaming", "observe.addressing"), Room(packages="starlette")),
    "observe.status_page": Room("observe.addressing", "starlette"),
    "observe.api": Room("observe.addressing observe.streaming observe.overview", "msgspec starlette"),
    "observe.pages": Room("observe.api observe.status_page observe.metrics observe.exposition observe.reading", HTTP),
    "observe.totals": Room("observe.counters"),
    "observe.names": Room("observe.notes observe.overview wire errors"),
    "observe.query_log": Room("observe.notes observe.counters wire errors", "dnslib msgspec"),
    "hearing": Room(f"{HEARD} observe.overview observe.totals observe.counters config", "msgspec"),
    **dict.fromkeys(("adoption", "trust"), Room("config errors")),
    "sockets": Room("adoption steering config errors"),
    "intercepting": Room("flapping levels steering wire config"),
    "snapshot_file": Room("levels link"),
    "watching": Room("trust config errors hosts link node.resolv_conf"),
    "following": Room(f"watching config {LEAVES}"),
    "workers": Room(f"observe.totals {LEAVES}", "msgspec"),
    "generation": Room(f"workers following sockets snapshot_file watching config observe.totals {LEAVES}"),
    "handover": Room("control adoption link errors observe.counters"),
    "flushes": Room("control snapshot_file link wire errors"),
    "dumps": Room("control snapshot_file link errors"),
    "holdings": Room(f"{GENERATIONS} systemd privileges handover control config terminal {LEAVES}"),
    "succession": Room(f"{GENERATIONS} observe.query_log watching config errors"),
    "greeting": Room("watching config link"),
    "showing": Room(f"{FIGURES} {OF_THE_MACHINE} observe.metrics observe.totals succession workers", "msgspec"),
    "supervisor": Room(f"{PARENT} {GENERATIONS} observe.changes observe.totals observe.pages {LEAVES}", "uvicorn"),
    "cli": Room(
        "arguments usage meant inside supervisor succession watching config config_file control wire observe.metrics errors"
        " terminal"
    ),
    "arguments": Room("levels errors terminal"),
    "__main__": Room("cli"),
}

PURE = ("wire", "cache", "upstream.pipelining", "steering", *FIGURES.split(), *WRITTEN.split())
"""What decides is handed bytes and `now`: these rooms cannot wait, listen, read the clock, throw dice or write logs."""
IMPURE = frozenset(("asyncio", "logging", "random", "select", "selectors", "socket", "ssl", "threading", "time"))

DATA_PLANE = ("worker", "terms", "collecting", "snapshotting", "serving", "cache", "upstream", "wire")
NEVER_IN_DATA_PLANE = frozenset(("dnslib", "prometheus_client", "pyroute2", "rich", "starlette", "uvicorn", "yaml"))
ROOMS_NEVER_IN_DATA_PLANE = (
    "doctor", "importing", "inside", "lookup", "node", "observe.metrics", "observe.names", "observe.pages",
    "observe.query_log", "top",
)  # fmt: skip

EMPTY_NAMES = frozenset(("base", "common", "helper", "helpers", "misc", "util", "utils"))
EMPTY_CLASS_NAME = re.compile(r"Forwarder|Base([A-Z0-9].*)?|.*(Manager|Handler|Helper)")
MEASURING = ("tests.lab.counting", "tests.lab.loaded", "tests.lab.standstills", "tests.lab.steady", "time.process_time")
MEASURES = frozenset(("proportional", "worker_resident"))
"""What rates, times, processor and memory are measured with: imports, and attributes of a daemon under test."""
MAX_MODULE_LINES = 400
MAX_BODY_LINES = 50
MAX_PARAMETERS = 6
IMPORT_NAMES = {"prometheus-client": "prometheus_client", "PyYAML": "yaml"}
"""Distribution -> what one imports, where the two differ."""


def room_for(module: str) -> str | None:
    """The room with the longest name that is the module's own or above it."""
    return next((name for name in (module, *packages_around(module)) if name in ROOMS), None)


# --------------------------------------------------------------------------------- rules over one file: path, source

Rule = Callable[[str, str], list[str]]


def imports_upstairs(path: str, source: str) -> list[str]:
    """Imports that the table of rooms does not allow."""
    room = room_for(module_for(path))
    if room is None:
        return [f"{path}: belongs to no room of the table"]
    allowed = {room, *ROOMS[room].rooms.split()}
    found = [name for name in ours_imported(source) if room_for(name) not in allowed]
    found += [name for name in imported(source) if name.startswith(".")]
    found += sorted(packages_imported(source) - set(ROOMS[room].packages.split()))
    return [f"{path}: the room {room} must not import {name}" for name in found]


def impure_imports(path: str, source: str) -> list[str]:
    """Imports that would let a pure room wait, listen, read the clock, throw dice or write logs."""
    if not is_below(module_for(path), PURE):
        return []
    tops = {name.partition(".")[0] for name in imported(source)}
    return [f"{path}: a pure room must not import {name}" for name in sorted(tops & IMPURE)]


def hidden_imports(path: str, source: str) -> list[str]:
    """Imports inside a function, and imports spelt as calls."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = (child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom))
            found += [f"{path}:{child.lineno}: import inside {node.name}" for child in inside]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("__import__", "import_module")):
            found.append(f"{path}:{node.lineno}: import spelt as a call")
    return found


def empty_names(path: str, source: str) -> list[str]:
    """Modules, folders and classes whose name says nothing of what is in them."""
    parts = path.removesuffix(".py").split("/")
    classes = (node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))
    found = [f"{path}: {part} is no concept" for part in parts if part in EMPTY_NAMES]
    return found + [f"{path}: class {name} is no concept" for name in classes if EMPTY_CLASS_NAME.fullmatch(name)]


def missing_docstring(path: str, source: str) -> list[str]:
    """A module that does not open with its role."""
    return [] if (ast.get_docstring(ast.parse(source)) or "").strip() else [f"{path}: opens without its role"]


def long_modules(path: str, source: str) -> list[str]:
    lines = len(source.splitlines())
    return [f"{path}: {lines} lines, {MAX_MODULE_LINES} at most"] if lines > MAX_MODULE_LINES else []


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def long_functions(path: str, source: str) -> list[str]:
    """Bodies that do not fit on a screen; signature and docstring are not counted."""
    found = []
    for node in functions(source):
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        if lines > MAX_BODY_LINES:
            found.append(f"{path}:{node.lineno}: the body of {node.name} has {lines} lines, {MAX_BODY_LINES} at most")
    return found


def many_parameters(path: str, source: str) -> list[str]:
    """Functions that want to be told too much; `self` and `cls` are not counted."""
    found = []
    for node in functions(source):
        wanted = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        wanted += [one for one in (node.args.vararg, node.args.kwarg) if one]
        count = len(wanted) - (wanted[:1] != [] and wanted[0].arg in {"self", "cls"})
        if count > MAX_PARAMETERS:
            found.append(f"{path}:{node.lineno}: {node.name} takes {count} parameters, {MAX_PARAMETERS} at most")
    return found


def unfinished_work(path: str, source: str) -> list[str]:
    """Notes to oneself: what is left to do is an issue, not a comment."""
    notes = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b", re.IGNORECASE)
    return [f"{path}:{number}: unfinished" for number, line in enumerate(source.splitlines(), 1) if notes.search(line)]


def silenced_without_reason(path: str, source: str) -> list[str]:
    """Comments that silence ruff or mypy and do not say what they silence, or why."""
    silencer = re.compile(r"#\s*(noqa(: *[A-Z]+[0-9]+(, *[A-Z]+[0-9]+)*)?|type: ignore(\[[a-z, -]+\])?)")
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (match := silencer.search(token.string)):
            reason = token.string[: match.start()] + token.string[match.end() :]
            if not (match[2] or match[4]) or not re.search(r"[a-z]{2}", reason):
                found.append(f"{path}:{token.start[0]}: silences a check without a code or a reason")
    return found


def skips_of_its_own(path: str, source: str) -> list[str]:
    """Tests that skip by themselves: only `tests/lab/needs.py` does, because it fails where every test must run."""
    if path == "tests/lab/needs.py":
        return []
    ways = {"pytest.skip", "pytest.importorskip", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.xfail"}
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    return [f"{path}:{node.lineno}: {ast.unparse(node)}" for node in nodes if ast.unparse(node) in ways]


def measures_beside_others(path: str, source: str) -> list[str]:
    """Tests that run side by side and measure: their neighbours would be measured with them."""
    if not re.search(r"^pytestmark = .*\bside_by_side\b", source, re.MULTILINE):
        return []
    found = [name for name in imported(source) if name.startswith(MEASURING)]
    attributes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    found += [node.attr for node in attributes if node.attr in MEASURES]
    return [f"{path}: measures, and runs side by side with others: {name}" for name in found]


# ------------------------------------------------------------------------------------------- rules over many files


def circles(modules: Mapping[str, str]) -> list[str]:
    """Modules that import each other, directly or over others."""
    graph = {name: targets - {name} for name, targets in imports_among(modules).items()}
    while leaves := {name for name, targets in graph.items() if not targets & graph.keys()}:
        graph = {name: targets for name, targets in graph.items() if name not in leaves}
    return [f"in a circle, or above one: {name}" for name in sorted(graph)]


def heavy_data_plane(modules: Mapping[str, str]) -> list[str]:
    """What the data plane loads, over any number of modules, and must not."""
    graph = imports_among(modules)
    packages = {module_for(path): packages_imported(source) for path, source in modules.items()}
    reached: set[str] = set()
    waiting = {name for name in graph if is_below(name, DATA_PLANE)}
    while waiting:
        reached |= waiting
        loaded = set().union(*(graph[name] for name in waiting))
        waiting = loaded.union(*map(packages_around, loaded)) & graph.keys() - reached
    found = [f"the data plane loads {name}" for name in sorted(reached) if is_below(name, ROOMS_NEVER_IN_DATA_PLANE)]
    for name in sorted(reached):
        found += [f"the data plane loads {package}, by {name}" for package in sorted(packages[name] & NEVER_IN_DATA_PLANE)]
    return found


def without_test_file(paths: set[str]) -> list[str]:
    """Modules that no test file proves: `forwarder/wire/names.py` wants `tests/test_wire_names.py`."""
    modules = (path for path in sorted(paths) if path.startswith(f"{PACKAGE}/") and path.endswith(".py"))
    wanted = {
        path: f"tests/test_{module_for(path).replace('.', '_')}.py"
        for path in modules
        if Path(path).name not in {"__init__.py", "__main__.py"}
    }
    return [f"{path}: no {test}" for path, test in wanted.items() if test not in paths]


def listed_without_reason(pyproject: str) -> list[str]:
    """Dependencies and ignored rules in pyproject.toml that do not stand on a line of their own with a reason behind them."""
    data = tomllib.loads(pyproject)
    lint = data.get("tool", {}).get("ruff", {}).get("lint", {})
    project = data["project"]
    lists = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values()]
    lists += [lint.get("ignore", []), *lint.get("per-file-ignores", {}).values()]
    items = [item for one in lists for item in one]
    explained = re.findall(r'^ *"([^"]+)", +# \w.{4,}$', pyproject, re.MULTILINE)
    return [f"pyproject.toml: no reason behind {item}" for item in items if items.count(item) > explained.count(item)]


def undeclared_or_unused(pyproject: str, modules: Mapping[str, str]) -> list[str]:
    """Packages the daemon imports and does not declare, or declares and does not import."""
    names = (re.split(r"[^\w.-]", line)[0] for line in tomllib.loads(pyproject)["project"]["dependencies"])
    declared = {IMPORT_NAMES.get(name, name) for name in names}
    used = set().union(*(packages_imported(source) for source in modules.values()))
    return [f"imported, not declared: {name}" for name in sorted(used - declared)] + [
        f"declared, not imported: {name}" for name in sorted(declared - used)
    ]


# ------------------------------------------------------------------------------------------------ the project obeys

EVERYWHERE = (PACKAGE, "tests", "benchmarks")
RULES: Mapping[Rule, tuple[str, ...]] = {
    imports_upstairs: (PACKAGE,),
    impure_imports: (PACKAGE,),
    hidden_imports: EVERYWHERE,
    empty_names: EVERYWHERE,
    missing_docstring: EVERYWHERE,
    long_modules: EVERYWHERE,
    long_functions: EVERYWHERE,
    many_parameters: EVERYWHERE,
    silenced_without_reason: EVERYWHERE,
    skips_of_its_own: ("tests",),
    measures_beside_others: ("tests",),
}
"""Rule -> the top folders it holds in."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps(rule: Rule) -> None:
    found = [problem for path, source in sources(*RULES[rule]).items() for problem in rule(path, source)]
    assert not found, "\n".join(found)


def test_no_file_is_unfinished() -> None:
    texts = {path: (ROOT / path).read_text(errors="replace") for path in project_files()}
    found = [problem for path, text in texts.items() for problem in unfinished_work(path, text)]
    assert not found, "\n".join(found)


def test_no_circle() -> None:
    found = circles(sources(PACKAGE))
    assert not found, "\n".join(found)


def test_data_plane_is_light() -> None:
    found = heavy_data_plane(sources(PACKAGE))
    assert not found, "\n".join(found)


def test_worker_program_loads_nothing_heavy() -> None:
    program = "import sys, forwarder.worker; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split()) & NEVER_IN_DATA_PLANE == set()


def test_every_module_has_its_test_file() -> None:
    found = without_test_file(set(project_files()))
    assert not found, "\n".join(found)


def test_pyproject_gives_reasons() -> None:
    found = listed_without_reason((ROOT / "pyproject.toml").read_text())
    assert not found, "\n".join(found)


def test_dependencies_are_those_imported() -> None:
    found = undeclared_or_unused((ROOT / "pyproject.toml").read_text(), sources(PACKAGE))
    assert not found, "\n".join(found)


def test_table_has_no_empty_room() -> None:
    modules = {module_for(path) for path in sources(PACKAGE)}
    empty = [name for name in ROOMS if not any(is_below(module, (name,)) for module in modules)]
    assert not empty, f"no module of the table's {empty}"
