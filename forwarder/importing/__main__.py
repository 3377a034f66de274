"""`python -m forwarder.importing`: the program behind `forwarder import-corefile`.

Always holds: exit status 0 the YAML is on stdout, 1 nobody read it, 2 the command line or the file is wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from forwarder.arguments import Parser, is_help, shown, status_of
from forwarder.importing import pillars
from forwarder.importing.command import Request, imported
from forwarder.importing.recognising import Kind

HELP = """\
usage: forwarder import-corefile FILE [--pillar NAME=VALUE]... [--kind KIND]

Writes the YAML for `forwarder run --config` from another program's file, with a
comment for everything that could not be carried over. FILE may be - for stdin.

  --pillar NAME=VALUE  what stands for __PILLAR__NAME__ in the file; repeatable:
                       DNS__DOMAIN=cluster.local LOCAL__DNS=169.254.20.10
                       DNS__SERVER=10.96.0.10 (what pods have been given)
                       CLUSTER__DNS=10.96.0.11 (another address of that DNS)
                       UPSTREAM__SERVERS=/etc/resolv.conf
  --kind KIND          corefile   of CoreDNS or NodeLocal DNSCache
                       configmap  YAML that holds a Corefile, kube-dns's
                                  stubDomains and upstreamNameservers, or both
                       dnsmasq    a dnsmasq.conf
                       without it, by what is in the file

Exit status: 0 written, 1 nobody read it, 2 the command line or FILE is wrong.
Try:  kubectl -n kube-system get cm node-local-dns -o yaml |
      forwarder import-corefile - --pillar CLUSTER__DNS=10.96.0.11 > new.yaml
"""


class Arguments(argparse.Namespace):
    """The command line, read."""

    file: str
    pillar: list[str]
    kind: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if is_help(words):
        return shown(HELP.rstrip("\n"))
    return status_of(lambda: _obeyed(parser().parse_args(words, namespace=Arguments())))


def parser() -> Parser:
    """The reader of the command line."""
    top = Parser("forwarder import-corefile")
    top.add_argument("file", metavar="FILE")
    top.add_argument("--pillar", action="append", default=[], metavar="NAME=VALUE")
    top.add_argument("--kind", choices=[kind.value for kind in Kind])
    return top


def _obeyed(arguments: Arguments) -> int:
    kind = None if arguments.kind is None else Kind(arguments.kind)
    request = Request(arguments.file, kind, pillars.values_of(arguments.pillar), os.environ)
    return shown(imported(request).rstrip("\n"))


if __name__ == "__main__":
    sys.exit(main())
