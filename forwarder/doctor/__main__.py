"""`python -m forwarder.doctor`: the program behind `forwarder doctor`.

Always holds: exit status 0 nothing is wrong, 1 there is a problem, 2 the command line or a file that it names is wrong.
"""

import argparse
import sys
from pathlib import Path

from forwarder import config_file
from forwarder.arguments import FAILED, WELL, Parser, is_help, shown, status_of
from forwarder.doctor import facts as known
from forwarder.doctor.gathering import Wanted, gathered
from forwarder.doctor.judging import judged
from forwarder.doctor.telling import as_json, as_text
from forwarder.errors import ConfigError, Problem
from forwarder.wire.names import name_from_text

HELP = """\
usage: forwarder doctor [--config F] [--resolv-conf F] [--json] [NAME]...
       forwarder doctor [--config F] [--resolv-conf F] --gather F [NAME]...
       forwarder doctor --facts F [--json]

  Looks at this place, a pod, a VM or a node, as its programs see DNS, asks the
  servers a few hundred queries, and says what is wrong: each with its figure,
  what it means and the mend. Changes nothing. Takes 2 to 7 seconds.

  NAME             names that matter here: whether they fail, and whether the
                   servers agree about them
  --config F       the daemon's configuration: looks at it and its upstreams too
  --resolv-conf F  the file that says whom clients ask; /etc/resolv.conf
  --json           one JSON object instead of text
  --gather F       write what there is to see to F (- is stdout), judge nothing
  --facts F        judge what --gather wrote, anywhere; nothing is looked at

As root it sees more: rules, tracked connections, who holds a port.
Exit status: 0 nothing is wrong, 1 there is a problem, 2 the command line or a
file is wrong. docs/doctor.md tells of each finding.
"""


class Arguments(argparse.Namespace):
    """The command line, read."""

    config: str | None
    resolv_conf: str | None
    json: bool
    gather: str | None
    facts: str | None
    names: list[str]


def main() -> int:
    """Do what the command line says; the exit status."""
    words = sys.argv[1:]
    if is_help(words):
        return shown(HELP.rstrip("\n"))
    return status_of(lambda: _obeyed(_parser().parse_args(words, namespace=Arguments())))


def _parser() -> Parser:
    parser = Parser("forwarder doctor")
    parser.add_argument("--config", metavar="FILE")
    parser.add_argument("--resolv-conf", metavar="FILE")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--gather", metavar="FILE")
    parser.add_argument("--facts", metavar="FILE")
    parser.add_argument("names", metavar="NAME", nargs="*")
    return parser


def _obeyed(arguments: Arguments) -> int:
    if arguments.facts is not None:
        if arguments.config or arguments.resolv_conf or arguments.gather or arguments.names:
            raise _wrong("--facts", "judges what was seen elsewhere: no other option but --json goes with it")
        facts = known.decoded(_read(arguments.facts), arguments.facts)
        if facts.config is not None:  # within its bounds, like one from its own file
            config_file.parsed(config_file.effective_text(facts.config), f"{arguments.facts}: config")
    else:
        facts = gathered(_wanted(arguments))
    if arguments.gather is not None:
        return _write(arguments.gather, known.encoded(facts))
    findings = judged(facts)
    told = as_json(facts, findings) if arguments.json else as_text(facts, findings)
    return shown(told) or (FAILED if any(one.is_problem for one in findings) else WELL)


def _wanted(arguments: Arguments) -> Wanted:
    for name in arguments.names:
        try:
            name_from_text(name)
        except ValueError as error:
            raise _wrong("NAME", str(error)) from None
    path = arguments.resolv_conf or "/etc/resolv.conf"
    if arguments.resolv_conf is not None:
        _read(path)  # one that was named must be there
    config = config_file.load(arguments.config) if arguments.config is not None else None
    return Wanted(path, config, tuple(arguments.names))


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(known.MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise _wrong(ascii(path)[1:-1], f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _write(path: str, data: bytes) -> int:
    if path == "-":
        return shown(data.decode().rstrip("\n"))
    try:
        Path(path).write_bytes(data)
    except (OSError, ValueError) as error:
        raise _wrong(ascii(path)[1:-1], f"cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return WELL


def _wrong(where: str, what: str) -> ConfigError:
    return ConfigError((Problem(where, what),))


if __name__ == "__main__":
    sys.exit(main())
