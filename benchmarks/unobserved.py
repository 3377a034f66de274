"""The daemon with observation compiled out: a worker whose data path counts nothing, times nothing and notes nothing.

    python -m benchmarks.unobserved CONFIG      # the daemon
    python -m benchmarks.unobserved worker LINK # what its supervisor starts in the place of `forwarder.worker`

When the rooms of the data path are imported, every statement that writes a counter, a histogram or a note is taken out of
their source. For measuring only. Always holds: what is left answers as ever; a room that has nothing to take out, or a
statement that is no longer there, would make the measurement mean less, so that few are an error.
"""

import ast
import importlib.abc
import importlib.machinery
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

from forwarder import config_file, supervisor
from forwarder.succession import Source

ROOMS = ("forwarder.serving.", "forwarder.upstream.")
COUNTERS = ("counts", "slots", "answers")
"""What a map of counters is called."""
CALLS = (
    "observe_microseconds", "noting.", "tally.", "habits.", "_habits.", "_took", "count", "_count", "_observe", "tell_hit",
)  # fmt: skip
"""Calls that only observe: by their name, or by how it ends or what is before its last dot."""
TESTED = frozenset(("noting", "sampler", "hits"))
"""What is asked for only to observe: `if noting is not None`."""
LEAST = 40
"""Statements that are taken out; fewer, and the names above are no longer those of the code."""

taken_out: list[str] = []
"""What was taken out so far, a line for each."""


def main(arguments: Sequence[str]) -> int:
    """The daemon, or its worker."""
    if arguments[0] == "worker":
        sys.meta_path.insert(0, Finder())
        sys.argv[1:] = arguments[1:]
        runpy.run_module("forwarder.worker", run_name="__main__", alter_sys=True)
        return 0
    config = config_file.load(arguments[0])
    program = (sys.executable, "-m", "benchmarks.unobserved", "worker")
    return supervisor.run(config, Source(lambda: config), program=program)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the rooms of the data path, for `Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As ever, but for who loads it."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target) if fullname.startswith(ROOMS) else None
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


class Loader(importlib.machinery.SourceFileLoader):
    """Compiles the source, less what observes."""

    def get_code(self, fullname: str) -> CodeType:
        """Never from the cache of bytecode."""
        tree = Unobserving().visit(ast.parse(self.get_data(self.path)))
        code: CodeType = compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)
        if fullname == "forwarder.serving.udp" and len(taken_out) < LEAST:  # the last of the rooms, for it needs the others
            raise ImportError(f"only {len(taken_out)} statements observe: benchmarks/unobserved.py knows them by other names")
        return code


class Unobserving(ast.NodeTransformer):
    """Takes statements out."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """What is left of a body must not be nothing."""
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]  # it has one
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | None:
        """`counts[...] += 1`."""
        target = node.target
        is_counter = isinstance(target, ast.Subscript) and ast.unparse(target.value).endswith(COUNTERS)
        return self._out(node) if is_counter else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """`observe_microseconds(...)`."""
        if not isinstance(node.value, ast.Call):
            return node
        called = ast.unparse(node.value.func)
        owner, _, name = called.rpartition(".")
        is_ours = name in CALLS or any(f"{owner}.".endswith(ending) for ending in CALLS if ending.endswith("."))
        return self._out(node) if is_ours else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """`if noting is not None: ...`, and what is left without a body."""
        tested = {_name(part) for part in ast.walk(node.test) if isinstance(part, ast.Name | ast.Attribute)}
        if not node.orelse and tested & TESTED:
            return self._out(node)
        super().generic_visit(node)
        if not node.body and not node.orelse:
            return None
        node.body = node.body or [ast.Pass()]
        return node

    @staticmethod
    def _out(node: ast.stmt) -> None:
        taken_out.append(ast.unparse(node).partition("\n")[0])


def _name(node: ast.Name | ast.Attribute) -> str:
    return (node.id if isinstance(node, ast.Name) else node.attr).lstrip("_")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
