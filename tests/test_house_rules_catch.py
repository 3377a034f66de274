"""Each house rule catches what it is there to catch and lets pass what is next to it: a rule that cannot fail keeps nothing."""

import pytest

from tests import test_house_rules as rules

ROLE = '"""The role."""\n'
LONG_BODY = "    x = 1\n" * (rules.MAX_BODY_LINES + 1)
FULL_BODY = "    x = 1\n" * rules.MAX_BODY_LINES
UNFINISHED = "# TO" + "DO later\n"
SILENCER = "import os  # no" + "qa"
BESIDE_OTHERS = "pytestmark = pytest.mark.side_by_side\n"
TYPE_SILENCER = "x = 1  # type: " + "ignore"

CAUGHT: list[tuple[rules.Rule, str, str]] = [
    (rules.imports_upstairs, "forwarder/cache/answers.py", "from forwarder.serving import udp\n"),
    (rules.imports_upstairs, "forwarder/cache/answers.py", "import forwarder.upstream.udp\n"),
    (rules.imports_upstairs, "forwarder/serving/udp.py", "from forwarder import config\n"),
    (rules.imports_upstairs, "forwarder/serving/udp.py", "from forwarder.observe import metrics\n"),
    (rules.imports_upstairs, "forwarder/observe/__init__.py", "from forwarder.observe.pages import serve\n"),
    (rules.imports_upstairs, "forwarder/errors.py", "from forwarder import link\n"),
    (rules.imports_upstairs, "forwarder/wire/names.py", "from .message import parse_query\n"),
    (rules.imports_upstairs, "forwarder/wire/names.py", "import dnslib\n"),
    (rules.imports_upstairs, "forwarder/worker.py", "from yaml import safe_load\n"),
    (rules.imports_upstairs, "forwarder/supervisor.py", "from forwarder.cache.exact import ExactCache\n"),
    (rules.imports_upstairs, "forwarder/attic.py", ""),
    (rules.impure_imports, "forwarder/wire/names.py", "import socket\n"),
    (rules.impure_imports, "forwarder/cache/lifetime.py", "from time import monotonic\n"),
    (rules.impure_imports, "forwarder/upstream/pipelining.py", "import asyncio.streams\n"),
    (rules.hidden_imports, "forwarder/cli.py", "def main():\n    if True:\n        import yaml\n"),
    (rules.hidden_imports, "forwarder/cli.py", "class A:\n    async def a(self):\n        from forwarder import errors\n"),
    (rules.hidden_imports, "forwarder/cli.py", "importlib.import_module('yaml')\n"),
    (rules.hidden_imports, "forwarder/cli.py", "yaml = __import__('yaml')\n"),
    (rules.empty_names, "forwarder/util.py", ""),
    (rules.empty_names, "forwarder/common/names.py", ""),
    (rules.empty_names, "forwarder/link.py", "class Forwarder: ...\n"),
    (rules.empty_names, "forwarder/link.py", "class QueryHandler: ...\n"),
    (rules.empty_names, "forwarder/link.py", "class BaseUpstream: ...\n"),
    (rules.missing_docstring, "forwarder/link.py", "import os\n"),
    (rules.missing_docstring, "forwarder/link.py", '""" """\n'),
    (rules.missing_docstring, "forwarder/link.py", ""),
    (rules.long_modules, "forwarder/link.py", ROLE + "x = 1\n" * rules.MAX_MODULE_LINES),
    (rules.long_functions, "forwarder/link.py", f"def f():\n{LONG_BODY}"),
    (rules.long_functions, "forwarder/link.py", f"async def f():\n    {ROLE}{LONG_BODY}"),
    (rules.many_parameters, "forwarder/link.py", "def f(a, b, c, /, d, *, e, f, g): ...\n"),
    (rules.many_parameters, "forwarder/link.py", "class A:\n    def f(self, a, b, c, d, e, *f, **g): ...\n"),
    (rules.unfinished_work, "README.md", UNFINISHED),
    (rules.silenced_without_reason, "forwarder/link.py", f"{SILENCER}\n"),
    (rules.silenced_without_reason, "forwarder/link.py", f"{SILENCER}: F401\n"),
    (rules.silenced_without_reason, "forwarder/link.py", f"{SILENCER} because we can\n"),
    (rules.silenced_without_reason, "forwarder/link.py", f"{TYPE_SILENCER}[assignment]\n"),
    (rules.skips_of_its_own, "tests/test_link.py", "@pytest.mark.skipif(True, reason='')\ndef test_a(): ...\n"),
    (rules.skips_of_its_own, "tests/test_link.py", "def test_a():\n    pytest.skip('not today')\n"),
    (rules.measures_beside_others, "tests/scenarios/test_a.py", f"from tests.lab.steady import Steady\n{BESIDE_OTHERS}"),
    (rules.measures_beside_others, "tests/scenarios/test_a.py", f"from time import process_time\n{BESIDE_OTHERS}"),
    (rules.measures_beside_others, "tests/scenarios/test_a.py", f"{BESIDE_OTHERS}assert daemon.worker_resident() < 9\n"),
]

PASSED: list[tuple[rules.Rule, str, str]] = [
    (rules.imports_upstairs, "forwarder/cache/answers.py", "import struct\nfrom forwarder.cache.bounded import Bounded\n"),
    (rules.imports_upstairs, "forwarder/serving/udp.py", "from forwarder.observe import counters\n"),
    (rules.imports_upstairs, "forwarder/serving/udp.py", "from forwarder.observe.counters import SIZE\n"),
    (
        rules.imports_upstairs,
        "forwarder/observe/pages.py",
        "from forwarder import __version__\nimport starlette.routing\n",
    ),
    (rules.impure_imports, "forwarder/upstream/pipelining.py", "import secrets\n"),
    (rules.impure_imports, "forwarder/upstream/udp.py", "import socket\n"),
    (rules.hidden_imports, "forwarder/cli.py", "import sys\ndef main(): sys.exit()\n"),
    (rules.empty_names, "forwarder/link.py", "class ForwarderError(Exception): ...\nclass Baseline: ...\n"),
    (rules.missing_docstring, "forwarder/link.py", ROLE),
    (rules.long_modules, "forwarder/link.py", "x = 1\n" * rules.MAX_MODULE_LINES),
    (rules.long_functions, "forwarder/link.py", f"def f():\n    {ROLE}{FULL_BODY}"),
    (rules.many_parameters, "forwarder/link.py", "class A:\n    def f(self, a, b, c, d, *, e, f): ...\n"),
    (rules.unfinished_work, "README.md", "nothing is left to do\n"),
    (rules.silenced_without_reason, "forwarder/link.py", f"{SILENCER}: F401, E402 - loaded for its effect\n"),
    (rules.silenced_without_reason, "forwarder/link.py", f"{TYPE_SILENCER}[assignment]  # the stub is wrong\n"),
    (rules.skips_of_its_own, "tests/lab/needs.py", "pytest.skip('needs root')\n"),
    (rules.measures_beside_others, "tests/scenarios/test_a.py", f"from tests.lab.stage import Stage\n{BESIDE_OTHERS}"),
    (rules.measures_beside_others, "tests/scenarios/test_a.py", "from tests.lab.steady import Steady\n"),
]


def named(value: object) -> str:
    return getattr(value, "__name__", "")


@pytest.mark.parametrize(("rule", "path", "source"), CAUGHT, ids=named)
def test_caught(rule: rules.Rule, path: str, source: str) -> None:
    assert len(rule(path, source)) == 1


@pytest.mark.parametrize(("rule", "path", "source"), PASSED, ids=named)
def test_passed(rule: rules.Rule, path: str, source: str) -> None:
    assert rule(path, source) == []


def test_every_rule_is_tried_both_ways() -> None:
    wanted = {*rules.RULES, rules.unfinished_work}
    assert {rule for rule, _, _ in CAUGHT} == wanted
    assert {rule for rule, _, _ in PASSED} == wanted


def test_circle_is_caught() -> None:
    straight = {
        "forwarder/wire/names.py": "",
        "forwarder/wire/message.py": "from forwarder.wire.names import skip_name\n",
        "forwarder/wire/fitting.py": "from forwarder.wire import message\n",
    }
    assert rules.circles(straight) == []
    found = rules.circles(straight | {"forwarder/wire/names.py": "import forwarder.wire.fitting\n"})
    assert len(found) == len(straight)


def test_package_that_gathers_its_modules_is_no_circle() -> None:
    gathered = {
        "forwarder/wire/__init__.py": "from forwarder.wire.message import parse_query\n",
        "forwarder/wire/message.py": "from forwarder.wire.names import skip_name\n",
        "forwarder/wire/names.py": "",
    }
    assert rules.circles(gathered) == []
    assert rules.circles(gathered | {"forwarder/wire/names.py": "from forwarder.wire import parse_query\n"}) != []


def test_heavy_data_plane_is_caught_over_other_modules() -> None:
    light = {
        "forwarder/worker.py": "from forwarder import config\nfrom forwarder.observe import counters\n",
        "forwarder/config.py": "import msgspec\n",
        "forwarder/observe/__init__.py": "",
        "forwarder/observe/counters.py": "",
        "forwarder/observe/metrics.py": "import platform\n",
    }
    assert rules.heavy_data_plane(light) == []
    assert rules.heavy_data_plane(light | {"forwarder/config.py": "import yaml\n"}) == ["the data plane loads yaml, by config"]
    gathered = light | {"forwarder/observe/__init__.py": "from forwarder.observe import metrics\n"}
    assert "the data plane loads observe.metrics" in rules.heavy_data_plane(gathered)


def test_module_without_test_file_is_caught() -> None:
    paths = {"forwarder/wire/names.py", "forwarder/link.py", "forwarder/wire/__init__.py", "forwarder/__main__.py"}
    tests = {"tests/test_wire_names.py", "tests/test_link.py"}
    assert rules.without_test_file(paths | tests) == []
    assert rules.without_test_file(paths | {"tests/test_link.py"}) == ["forwarder/wire/names.py: no tests/test_wire_names.py"]


def test_dependency_without_reason_is_caught() -> None:
    explained = '[project]\ndependencies = [\n    "uvloop>=0.19",  # the event loop\n]\n'
    assert rules.listed_without_reason(explained) == []
    assert rules.listed_without_reason(explained.replace("  # the event loop", "")) != []
    assert rules.listed_without_reason('[project]\ndependencies = ["uvloop>=0.19"]  # the event loop\n') != []


def test_ignored_rule_without_reason_is_caught() -> None:
    ignored = '[project]\n[tool.ruff.lint]\nignore = [\n    "D105",  # known by name\n]\n'
    assert rules.listed_without_reason(ignored) == []
    assert rules.listed_without_reason(ignored.replace("  # known by name", "")) != []
    again = '[tool.ruff.lint.per-file-ignores]\n"tests/*" = [\n    "D105",\n]\n'
    assert rules.listed_without_reason(ignored + again) != []


def test_undeclared_and_unused_packages_are_caught() -> None:
    pyproject = '[project]\ndependencies = ["PyYAML>=6.0"]\n'
    assert rules.undeclared_or_unused(pyproject, {"forwarder/config_file.py": "import yaml\n"}) == []
    assert rules.undeclared_or_unused(pyproject, {"forwarder/hosts.py": "import dnslib\n"}) == [
        "imported, not declared: dnslib",
        "declared, not imported: yaml",
    ]
