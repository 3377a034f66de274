"""What `--help` prints: all commands on one screen, and one screen for each.

Always holds: a screen has 24 lines of 80 characters. The commands that are programs of their own (`cli.PROGRAMS`) hold theirs.
"""

ALL = """\
usage: forwarder COMMAND ...              forwarder COMMAND --help says more

  run [--config F] [--listen A]... [--upstream A]... [--takeover]
           serve until SIGTERM or Ctrl-C: a caching DNS forwarder for one node
  reload   have it read its configuration again, as SIGHUP does
  flush NAME | --suffix S | --all
           have it forget a name, a name and all below it, or everything
  top      watch it live: hit ratio, sources, times, upstreams, warnings
  stats    the same once, as text, or with --json for programs
  dump     print what it remembers, as a zone file with the TTLs that are left
  check F  print the effective configuration, or everything that is wrong in F
  lookup NAME [TYPE]
           look NAME up as programs do: each query, its answer and its time
  doctor   say what is wrong with DNS on this host, what it means, and the mend
  node up | down | status
           make, remove or show the interface and firewall rules it needs
  import-corefile F
           print our configuration for a Corefile, a ConfigMap of kube-dns, or
           a dnsmasq.conf
  --version

Exit status: 0 well, 1 what was asked for failed (an address is taken, no such
name), 2 the command line or the configuration is wrong.
Try:  dig @127.0.0.1 -p 5300 example.com
"""

RUN = """\
usage: forwarder run [--config F] [--listen A]... [--upstream A]... [--takeover]

Serve until SIGTERM or Ctrl-C; what is in progress is answered then.

  --config F     configuration in YAML; without it all is as by default, and
                 the nameservers of /etc/resolv.conf are asked
  --listen A     UDP and TCP: 127.0.0.1:5300 (default), [::1]:53; repeatable;
                 in place of listen.addresses
  --upstream A   ask 192.0.2.53, [2001:db8::53]:53, or those of a resolv.conf
                 file; repeatable (over TLS, as the zone says: 192.0.2.1@NAME);
                 in place of the upstreams of the zone `.`
  --takeover     take over from the instance that runs: no query is lost, its
                 answers are kept, and it leaves (process 1 of a container
                 stays, idle, until SIGTERM: it would be started again)

SIGHUP, or a change of F, has it read F again. SIGTERM ends it within 3 s.
Try:  dig @127.0.0.1 -p 5300 example.com
"""

PLACE = """\
  --config F       that which runs with this configuration
  --control PATH   that which is asked at this socket; without either the one at
                   /run/forwarder/control.sock, or below $XDG_RUNTIME_DIR
"""

RELOAD = f"""\
usage: forwarder reload [--config F | --control PATH]

Have the running daemon read its configuration again, as SIGHUP does, and come
back when the new one serves. One that is wrong is printed, and changes nothing.

{PLACE}"""

CHECK = """\
usage: forwarder check F

Print the effective configuration, every default included, or everything that is
wrong in F, each with its place and its mend (status 2).
"""

LOOKUP = """\
usage: forwarder lookup NAME [TYPE] [--libc glibc|musl] [--resolv-conf F]
                        [--server A] [--json]

Look NAME up as programs do (A and AAAA, or one TYPE): each query, its answer,
its time, and which step was slow or failed. No daemon is needed.

  --libc L         whose habits: glibc (default) or musl
  --resolv-conf F  nameservers, search path and options: /etc/resolv.conf
  --server A       ask this server instead: 192.0.2.53, [2001:db8::53]:5300
  --json           the same for programs
"""

FLUSH = f"""\
usage: forwarder flush NAME | --suffix S | --all [--config F | --control PATH]

Have the running daemon forget what it knows of NAME, of S and all below it, or
everything: answers, aliases that lead there, failures and denials, in memory
and in the snapshot. Pinned names stay. Prints how many entries went.

{PLACE}"""

STATS = f"""\
usage: forwarder stats [--json] [--config F | --control PATH]

Show what the running daemon does: hit ratio and queries a second, where answers
come from and how long they take, upstreams, workers, cache, and warnings. `now`
is the second before; all else counts since it began, reloads, handovers and
restarts of workers included. docs/inside.md tells each figure.

  --json           the same for programs, as one JSON object
{PLACE}"""

DUMP = f"""\
usage: forwarder dump [--suffix S] [--config F | --control PATH]

Print what the running daemon remembers, in the form of a zone file: each record
with the TTL that is left and, behind it, whether it is stale, which question it
answers, and by which zone it was asked. What does not exist (NXDOMAIN, NODATA)
stands in lines that begin with a semicolon. It answers on meanwhile.

  --suffix S       S and all below it alone, and aliases that lead there
{PLACE}"""

OF = {
    "run": RUN,
    "reload": RELOAD,
    "check": CHECK,
    "lookup": LOOKUP,
    "flush": FLUSH,
    "stats": STATS,
    "dump": DUMP,
}
"""Command -> its screen."""
