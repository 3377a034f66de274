"""What a person types: the commands.

Always holds: what was asked for goes to stdout, complaints go to stderr; what the daemon need not carry, the commands for the
host and for other programs' files, is a program of its own (`PROGRAMS`), which takes our place.
"""

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from forwarder import config_file, supervisor, terminal, usage, watching
from forwarder.arguments import FAILED, WELL, WRONG, Parser, is_help, shown, status_of
from forwarder.config import Config
from forwarder.control import asking, protocol
from forwarder.errors import ConfigError, Problem
from forwarder.inside import dumping, screen, seen
from forwarder.meant import add_place, control_paths
from forwarder.observe import metrics
from forwarder.succession import Source, warnings_for
from forwarder.wire.names import name_from_text, text_from_name

PROGRAMS = {
    "node": "forwarder.node",
    "doctor": "forwarder.doctor",
    "import-corefile": "forwarder.importing",
    "top": "forwarder.top",
}
"""Command -> the module that reads the rest of the line."""
RESOLV_CONF = "/etc/resolv.conf"
"""Whose nameservers are asked when the command line names neither a configuration nor an upstream."""
STAYING = "import signal; signal.sigwait({signal.SIGTERM, signal.SIGINT})"
"""What a replaced instance is that must not end by itself."""


class Arguments(argparse.Namespace):
    """The command line, read."""

    version: bool
    command: str | None
    file: str
    config: str | None
    listen: list[str]
    upstream: list[str]
    takeover: bool
    name: str
    type: str | None
    libc: str
    resolv_conf: str
    server: str | None
    json: bool
    only: str | None
    suffix: str | None
    all: bool
    control: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in PROGRAMS:
        _become(PROGRAMS[words[0]], words[1:])
    if is_help(words):
        return shown(usage.OF.get(words[0], usage.ALL).rstrip("\n"))
    return status_of(lambda: _obeyed(parser().parse_args(words, namespace=Arguments())))


def parser() -> Parser:
    """The reader of the command line; it ends with status 2 by itself when something is wrong."""
    top = Parser("forwarder")
    top.add_argument("--version", action="store_true")
    commands = top.add_subparsers(dest="command", parser_class=_SubParser)
    run = commands.add_parser("run")
    run.add_argument("--config", metavar="FILE")
    run.add_argument("--listen", action="append", default=[], metavar="ADDR")
    run.add_argument("--upstream", action="append", default=[], metavar="ADDR")
    run.add_argument("--takeover", action="store_true")
    reload = commands.add_parser("reload")
    add_place(reload)
    check = commands.add_parser("check")
    check.add_argument("file", metavar="FILE")
    lookup = commands.add_parser("lookup")
    lookup.add_argument("name", metavar="NAME")
    lookup.add_argument("type", metavar="TYPE", nargs="?")
    lookup.add_argument("--libc", choices=("glibc", "musl"), default="glibc")
    lookup.add_argument("--resolv-conf", metavar="FILE", default=RESOLV_CONF)
    lookup.add_argument("--server", metavar="ADDR")
    lookup.add_argument("--json", action="store_true")
    flush = commands.add_parser("flush")
    what = flush.add_mutually_exclusive_group(required=True)
    what.add_argument("only", nargs="?", metavar="NAME")
    what.add_argument("--suffix", metavar="S")
    what.add_argument("--all", action="store_true")
    add_place(flush)
    stats = commands.add_parser("stats")
    stats.add_argument("--json", action="store_true")
    add_place(stats)
    dump = commands.add_parser("dump")
    dump.add_argument("--suffix", metavar="S")
    add_place(dump)
    return top


class _SubParser(Parser):
    """What argparse makes for each command, whose complaint names the help that there is."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog.partition(" ")[0])


def _obeyed(arguments: Arguments) -> int:
    if arguments.version:
        return shown(f"forwarder {metrics.version()}")
    if arguments.command == "run":
        return _run(arguments)
    if arguments.command == "reload":
        return _reload(arguments)
    if arguments.command == "check":
        return _check(arguments.file)
    if arguments.command == "lookup":
        return _lookup(arguments)
    if arguments.command == "flush":
        return _flush(arguments)
    if arguments.command == "stats":
        return _stats(arguments)
    if arguments.command == "dump":
        return _dump(arguments)
    terminal.say("what shall it do? forwarder --help shows all there is")
    return WRONG


def _run(arguments: Arguments) -> int:
    terminal.say_what_is_logged()
    read = functools.partial(_read, arguments)
    status = supervisor.run(read(), Source(read, arguments.config), takeover=arguments.takeover)
    if status != supervisor.HANDED_OVER:
        return status
    if os.getpid() == 1:
        _stay()
    return WELL


def _stay() -> NoReturn:
    """What takes our place waits to be told to end: a container that ends by itself is started again and takes over in turn."""
    _become_python("-I", "-S", "-c", STAYING)


def _read(arguments: Arguments) -> Config:
    """The configuration as command line and file have it now."""
    config = config_file.load(arguments.config) if arguments.config is not None else None
    if config is None or arguments.listen or arguments.upstream:
        upstreams = arguments.upstream or (() if config is not None else (RESOLV_CONF,))
        config = config_file.from_arguments(arguments.listen, upstreams, config)
    return config


def _reload(arguments: Arguments) -> int:
    answer = asking.ask(_control_paths(arguments), protocol.Reload(protocol.VERSION))
    for note in asking.of_kind(protocol.Reloaded, answer).notes:
        terminal.say(note)
    return shown("configuration reloaded")


def _check(file: str) -> int:
    config = config_file.load(file)
    files = watching.read_files(config)
    for warning in warnings_for(config, files):
        terminal.say(warning)
    return shown(config_file.effective_text(config).rstrip("\n"))


def _lookup(arguments: Arguments) -> NoReturn:
    words = [arguments.name, arguments.type or "", arguments.libc, arguments.resolv_conf, arguments.server or ""]
    _become("forwarder.lookup", [*words, "json" if arguments.json else ""])


def _become(module: str, words: list[str]) -> NoReturn:
    """A program of its own takes our place: the daemon need not carry what it is made of."""
    _become_python("-m", module, *words)


def _become_python(*words: str) -> NoReturn:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - no shell is wanted


def _flush(arguments: Arguments) -> int:
    texts = {"NAME": arguments.only, "--suffix": arguments.suffix, "--all": "." if arguments.all else None}
    option, text = next((option, text) for option, text in texts.items() if text is not None)
    name = _checked(f"flush {option}", text)
    answer = asking.ask(_control_paths(arguments), protocol.Flush(protocol.VERSION, name, below=option != "NAME"))
    flushed = asking.of_kind(protocol.Flushed, answer)
    if flushed.pinned:
        terminal.say(f"pinned names stay as they are: {flushed.pinned} (`hosts`)")
    return shown(f"entries forgotten: {flushed.entries}")


def _stats(arguments: Arguments) -> int:
    answer = asking.ask(_control_paths(arguments), seen.REQUEST)
    if arguments.json:
        return shown(seen.json_in(answer))
    return shown(screen.text_for(seen.moment_in(answer)))


def _dump(arguments: Arguments) -> int:
    suffix = "." if arguments.suffix is None else _checked("dump --suffix", arguments.suffix)
    return WELL if dumping.dump(_control_paths(arguments), name_from_text(suffix), metrics.version()) else FAILED


def _checked(option: str, text: str) -> str:
    """A name as the daemon will read it. Raises ConfigError that says what is wrong with it."""
    try:
        return _name(text)
    except ValueError as error:
        raise ConfigError((Problem(option, str(error)),)) from error


def _name(text: str) -> str:
    """A name as the daemon will read it; raises ValueError that says what is wrong with it."""
    if not text:
        raise ValueError("an empty name: write `.` for the root")
    return text_from_name(name_from_text(text))


def _control_paths(arguments: Arguments) -> Sequence[str]:
    """Where the daemon is that was meant."""
    return control_paths(arguments.config, arguments.control)
