"""`python -m forwarder.node`: the program behind `forwarder node`, which reads the rest of the command line.

Always holds: exit status 0 it is as it should be, 1 it could not be done or is incomplete, 2 what was typed, or the
configuration, is wrong.
"""

import argparse
import functools
import pwd
import sys
from collections.abc import Sequence

from forwarder import config_file, terminal
from forwarder.arguments import FAILED, WELL, WRONG, Parser, is_help, shown, status_of
from forwarder.config import Config
from forwarder.errors import ConfigError, Problem
from forwarder.node import programs, telling, undertaking
from forwarder.node.plan import MAX_UID, Plan, plan_for, wildcards_in

HELP = """\
usage: forwarder node up     --config F [--user U]
       forwarder node down
       forwarder node status --config F [--user U] [--json]

  up      give this host what the daemon needs: an interface (node.interface,
          made unless it is there) with the listen addresses, and firewall
          rules that keep DNS to and from them out of connection tracking.
          Addresses in node.intercept are taken over while the daemon lives.
          Twice is as once; after a change of F exactly the new state
  down    take away what up made, whatever F said then, and nothing else
  status  each piece present, missing or foreign; whose rule drops our
          traffic; whether the takeover is alive

    --config F     the daemon's configuration
    --user U       who the daemon runs as, name or number: `user` of F, else
                   root. Only this user's datagrams renew a takeover
    --json         the status as one JSON object

Exit status: 0 well, 1 it failed or is incomplete, 2 the command line or the
configuration is wrong. It takes root, or CAP_NET_ADMIN.
"""


class Arguments(argparse.Namespace):
    """The command line, read."""

    what: str
    config: str | None
    user: str | None
    json: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if is_help(words):
        return shown(HELP.rstrip("\n"))
    return status_of(lambda: _obeyed(parser().parse_args(words, namespace=Arguments())))


def parser() -> Parser:
    """The reader of the command line; it ends with status 2 by itself when something is wrong."""
    found = Parser("forwarder node")
    found.add_argument("what", choices=("up", "down", "status"))
    found.add_argument("--config", metavar="F")
    found.add_argument("--user", metavar="U")
    found.add_argument("--json", action="store_true")
    return found


def uid_for(user: str | None) -> int:
    """The number of a user; one without an entry in /etc/passwd is itself, as containers have them. Raises ConfigError."""
    if user is None:
        return 0
    if user.isdecimal() and int(user) <= MAX_UID:
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        mend = "make it (useradd --system NAME), or write its number"
        raise ConfigError((Problem("user", f"this host has no user {user}: {mend}"),)) from None


def _obeyed(arguments: Arguments) -> int:
    if arguments.json and arguments.what != "status":
        return _misused(f"--json is for status alone, not for {arguments.what}")
    if arguments.what == "down":
        told: list[str] = []
        undertaking.down(functools.partial(_tell, told))
        return WELL if told else shown("nothing of ours is here")
    if arguments.config is None:
        return _misused(f"{arguments.what} needs --config F, the daemon's configuration: it says which addresses")
    plan = _plan(config_file.load(arguments.config), arguments.user)
    return _up(plan) if arguments.what == "up" else _status(plan, in_json=arguments.json)


def _misused(sentence: str) -> int:
    terminal.say(f"{sentence} (forwarder node --help shows all there is)")
    return WRONG


def _plan(config: Config, user: str | None) -> Plan:
    for address in wildcards_in(config):
        sentence = "stands for every address, so nothing is set up for it and its traffic stays tracked"
        terminal.say(f"listen.addresses: {address} {sentence}: name the addresses")
    return plan_for(config, uid_for(user or config.user), programs.kind_for(config.node.rules))


def _up(plan: Plan) -> int:
    told: list[str] = []
    undertaking.up(plan, functools.partial(_tell, told))
    if not plan.endpoints and not plan.addresses:
        return shown(telling.NOTHING)
    if not told:
        terminal.show("nothing to change")
    for sentence in telling.warnings_for(undertaking.status(plan)):
        terminal.say(sentence)
    return WELL


def _tell(told: list[str], line: str) -> None:
    told.append(line)
    terminal.show(line)


def _status(plan: Plan, *, in_json: bool) -> int:
    status = undertaking.status(plan)
    text = telling.as_json(status) if in_json else telling.lines_for(status)
    return shown(text) if status.is_complete else max(shown(text), FAILED)


if __name__ == "__main__":
    sys.exit(main())
