"""What the files say that the configuration names, followed while the daemon runs: the pinned names, and whom to ask.

Never writes a file, never invents an upstream, and never holds up the loop: files are looked at and read in a thread. Always
holds: a file that cannot be used is said in one line, and what it said before stays true; what is doubtful, because it may be
half-written, counts only once it was the same at two looks in a row; an upstream's row in the counters is its own for good.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from forwarder import link, watching
from forwarder.config import Config, doors_of
from forwarder.errors import ConfigError
from forwarder.levels import Notice
from forwarder.observe import counters

AS_BEFORE = "upstreams stay as they were"


class Following:
    """The files as they are now; lives in a running asyncio loop."""

    def __init__(
        self,
        config: Config,
        files: watching.Files,
        ensure_told: Callable[[link.Pinned, link.Upstreams], None],
        say: Callable[[str], None],
        rows: Sequence[str] = (),
    ) -> None:
        """`ensure_told` raises ConfigError when no worker could be told that; `say` takes a line about a change of state.

        `rows` in the counters are given out already.
        """
        self.pinned = files.pinned
        self.upstreams = _with_rows(files.asked.upstreams, rows)
        self._config = config
        self._watched = files.watched
        self._nameservers = files.asked.nameservers
        self._ensure_told = ensure_told
        self._say = say
        self._doubtful: set[str] = set()  # files that changed and were of no use, or may be of more in a moment
        self._untold_pinned = False
        self._untold_upstreams = False

    def shown(self) -> dict[str, bool]:
        """Whose each row for upstreams in the counters is, in their order -> whether it is asked now."""
        asked = set(self.upstreams.row_numbers().values())
        return {label: number in asked for number, label in enumerate(self.upstreams.rows)}

    async def look(self) -> None:
        """Take over what changed since the last look."""
        changed = await asyncio.to_thread(self._watched.changed)
        due, self._doubtful = {*changed, *self._doubtful}, set()
        hosts_files = [path for path in self._config.hosts.files if path in due]
        if hosts_files:
            await self._look_at_hosts(hosts_files, changed)
        resolv_confs = [path for path in self._nameservers if path in due]
        if resolv_confs:
            await self._look_at_resolv_confs(resolv_confs, changed)

    def tell(self, tell: Callable[[link.Order], bool]) -> None:
        """Say what was taken over to the worker; `tell` is False while it is behind, then it is told at the next call."""
        if self._untold_pinned:
            self._untold_pinned = not tell(self.pinned)
        if self._untold_upstreams:
            self._untold_upstreams = not tell(self.upstreams)

    async def _look_at_hosts(self, due: Sequence[str], changed: Sequence[str]) -> None:
        """Read all hosts files again: a name may be pinned in several."""
        is_settled = not any(path in changed for path in due)
        try:
            pinned = await asyncio.to_thread(watching.pinned, self._config)
            self._ensure_told(pinned, self.upstreams)
        except ConfigError as error:
            if not is_settled:
                self._doubtful.update(due)
                return
            for problem in error.problems:
                self._say(f"{problem}; pinned names stay as they were")
            return
        if not is_settled and any(self._watched.is_empty(path) for path in due):
            self._doubtful.update(due)
            return
        if pinned != self.pinned:
            self.pinned = pinned
            self._untold_pinned = True
            self._say(Notice(f"{', '.join(due)} changed: {len(pinned.records)} records are pinned from now on"))

    async def _look_at_resolv_confs(self, due: Sequence[str], changed: Sequence[str]) -> None:
        """Take over good contents; complain of others when they are the same at the second look."""
        found: dict[str, watching.Nameservers] = {}
        for path in due:
            is_settled = path not in changed
            try:
                named = await asyncio.to_thread(watching.nameservers, path, doors_of(self._config))
            except OSError as error:
                complaint = _complaint(error)
            else:
                if named.addresses and (named.is_complete or is_settled):
                    found[path] = named
                    self._say_left_out(path, named)
                    continue
                complaint = f"{named.lack}; {AS_BEFORE}: {watching.MEND}"
            if is_settled:
                self._say(f"{path} {complaint}")
            else:
                self._doubtful.add(path)
        self._ask(found)

    def _say_left_out(self, path: str, named: watching.Nameservers) -> None:
        if named.addresses != self._nameservers[path].addresses:
            for address in named.ours:
                self._say(watching.left_out(path, address))

    def _ask(self, found: Mapping[str, watching.Nameservers]) -> None:
        """Ask whom these files name from now on, and take over the search domains they name."""
        changed = [path for path, named in found.items() if named.addresses != self._nameservers[path].addresses]
        nameservers = {**self._nameservers, **found}
        upstreams = _with_rows(watching.upstreams_for(self._config, nameservers), self.upstreams.rows)
        if (upstreams.zones, upstreams.search) != (self.upstreams.zones, self.upstreams.search):
            try:
                self._ensure_told(self.pinned, upstreams)
            except ConfigError as error:
                self._say(f"{error}; {AS_BEFORE}")
                return
            for zone, before, now in zip(self._config.zones, self.upstreams.zones, upstreams.zones, strict=True):
                if now != before:
                    named = ", ".join(path for path in watching.resolv_confs(zone) if path in changed)
                    self._say(Notice(f"zone {now.zone} asks {', '.join(now.addresses)} from now on ({named} changed)"))
            if upstreams.search != self.upstreams.search and self._config.cluster_domain is None:
                domains = ", ".join(upstreams.search) or "none"
                self._say(Notice(f"search domains from now on: {domains} ({', '.join(found)} changed)"))
            self.upstreams = upstreams
            self._untold_upstreams = True
        self._nameservers = nameservers


def _complaint(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"does not exist; {AS_BEFORE}: {watching.MEND}"
    return f"cannot be read ({error.strerror}); {AS_BEFORE}: mend it, or name other upstreams"


def _with_rows(upstreams: link.Upstreams, given_out: Sequence[str]) -> link.Upstreams:
    """Give the new ones their rows in the counters, behind those given out before."""
    rows = list(given_out)
    last = counters.MAX_UPSTREAMS - 1
    for name in upstreams.names():
        if name not in rows and len(rows) <= last:
            rows.append(name if len(rows) < last else counters.OTHER_UPSTREAMS)
    return link.Upstreams(upstreams.zones, rows, upstreams.search)
