"""Files that change while the daemon runs: what is taken over, what is doubted, what is said, what stays as it was."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forwarder import following, link, watching
from forwarder.config import Config, Hosts, Listen, Zone
from forwarder.errors import ConfigError, Problem
from forwarder.observe import counters

MEND = "write `nameserver ADDRESS` there, or the address under zones[].upstreams"


class Desk:
    """Files in a folder, followed; each look is made when the test says so."""

    def __init__(self, folder: Path, *zones: Zone, hosts: tuple[str, ...] = ()) -> None:
        self.file = folder / "resolv.conf"
        self.said: list[str] = []
        self.refusal = ""
        config = Config(
            zones=zones or (Zone(zone=".", upstreams=(str(self.file),)),),
            listen=Listen(addresses=("127.0.0.1:53",)),
            hosts=Hosts(files=hosts),
        )
        self.following = following.Following(config, watching.read_files(config), self.ensure_told, self.said.append)

    def ensure_told(self, pinned: link.Pinned, upstreams: link.Upstreams) -> None:
        del pinned, upstreams
        if self.refusal:
            raise ConfigError((Problem("hosts", self.refusal),))

    def look(self) -> list[str]:
        """One look, and what was said at it."""
        before = len(self.said)
        asyncio.run(self.following.look())
        return self.said[before:]

    def asked(self, zone: int = 0) -> list[str]:
        return self.following.upstreams.zones[zone].addresses

    def told(self, *, is_behind: bool = False) -> list[link.Order]:
        """What the worker hears when it is told now; nothing reaches one that is behind."""
        orders: list[link.Order] = []

        def tell(order: link.Order) -> bool:
            orders.append(order)
            return not is_behind

        self.following.tell(tell)
        return orders


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Who asks 192.0.2.1, which a resolv.conf file names."""
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    return Desk(tmp_path)


def swapped_by_rename(file: Path, text: str) -> None:
    file.with_name("new").write_text(text)
    file.with_name("new").replace(file)


def swapped_by_link(file: Path, text: str) -> None:
    file.with_name("other").write_text(text)
    file.with_name("link").symlink_to("other")
    file.with_name("link").replace(file)


def removed_and_written(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


WAYS = [Path.write_text, swapped_by_rename, swapped_by_link, removed_and_written]


class TestGoodContents:
    @pytest.mark.parametrize("change", WAYS)
    def test_are_taken_over_at_the_first_look(self, desk: Desk, change: Callable[[Path, str], object]) -> None:
        change(desk.file, "nameserver 192.0.2.2\nnameserver 192.0.2.1\n")
        assert desk.look() == [f"zone . asks 192.0.2.2:53, 192.0.2.1:53 from now on ({desk.file} changed)"]
        assert desk.asked() == ["192.0.2.2:53", "192.0.2.1:53"]
        assert desk.told() == [desk.following.upstreams]
        assert (desk.look(), desk.told()) == ([], [])

    @pytest.mark.parametrize(
        "text", ["nameserver 192.0.2.1\n", "options ndots:5\nnameserver 192.0.2.1\n", "nameserver 192.0.2.1"]
    )
    def test_that_lead_to_the_same_addresses_do_nothing(self, desk: Desk, text: str) -> None:
        swapped_by_rename(desk.file, text)
        assert (desk.look(), desk.look()) == ([], [])
        assert desk.told() == []

    def test_other_search_domains_are_told(self, desk: Desk) -> None:
        desk.file.write_text("search a.test b.test\nnameserver 192.0.2.1\n")
        assert desk.look() == [f"search domains from now on: a.test, b.test ({desk.file} changed)"]
        (told,) = desk.told()
        assert told == desk.following.upstreams
        assert desk.following.upstreams.search == ["a.test", "b.test"]
        desk.file.write_text("nameserver 192.0.2.1\n# none\n")
        assert desk.look() == [f"search domains from now on: none ({desk.file} changed)"]

    def test_of_a_file_that_was_missing_at_the_start(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        assert (desk.look(), desk.asked()) == ([], [])
        desk.file.write_text("nameserver 192.0.2.1\n")
        assert desk.look() == [f"zone . asks 192.0.2.1:53 from now on ({desk.file} changed)"]
        assert desk.asked() == ["192.0.2.1:53"]

    def test_our_own_address_is_left_out_and_said(self, desk: Desk) -> None:
        desk.file.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.2\n")
        assert desk.look() == [
            f"{desk.file} names 127.0.0.1:53, which is this daemon: left out, queries would run in a circle",
            f"zone . asks 192.0.2.2:53 from now on ({desk.file} changed)",
        ]
        assert desk.asked() == ["192.0.2.2:53"]

    def test_each_zone_that_names_the_file_is_said_and_no_other(self, tmp_path: Path) -> None:
        file, second = tmp_path / "resolv.conf", tmp_path / "second"
        file.write_text("nameserver 192.0.2.1\n")
        second.write_text("nameserver 192.0.2.1\n")
        zones = (
            Zone(zone="a.test", upstreams=("192.0.2.7:53", str(file))),
            Zone(zone="b.test", upstreams=("192.0.2.7:53", str(second))),
            Zone(zone=".", upstreams=(str(file), str(second))),
        )
        desk = Desk(tmp_path, *zones)
        file.write_text("nameserver 192.0.2.2\n")
        assert desk.look() == [
            f"zone a.test asks 192.0.2.7:53, 192.0.2.2:53 from now on ({file} changed)",
            f"zone . asks 192.0.2.2:53, 192.0.2.1:53 from now on ({file} changed)",
        ]
        assert [desk.asked(number) for number in range(3)] == [
            ["192.0.2.7:53", "192.0.2.2:53"],
            ["192.0.2.7:53", "192.0.2.1:53"],
            ["192.0.2.2:53", "192.0.2.1:53"],
        ]

    def test_no_room_on_the_way_to_the_worker(self, desk: Desk) -> None:
        desk.refusal = "too many"
        desk.file.write_text("nameserver 192.0.2.2\n")
        assert desk.look() == ["hosts: too many; upstreams stay as they were"]
        assert (desk.asked(), desk.told()) == (["192.0.2.1:53"], [])


def unreadable(file: Path) -> None:
    """As a file is that names itself: even root cannot open it."""
    file.unlink()
    file.symlink_to(file.name)


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda file: file.write_text(""), f"names no nameserver; upstreams stay as they were: {MEND}"),
    "a comment": (lambda file: file.write_text("# nobody\n"), f"names no nameserver; upstreams stay as they were: {MEND}"),
    "ourselves": (
        lambda file: file.write_text("nameserver 127.0.0.1\n"),
        f"names no nameserver but this daemon; upstreams stay as they were: {MEND}",
    ),
    "missing": (Path.unlink, f"does not exist; upstreams stay as they were: {MEND}"),
    "unreadable": (
        unreadable,
        "cannot be read (Too many levels of symbolic links); upstreams stay as they were: mend it, or name other upstreams",
    ),
    "too large": (
        lambda file: file.write_bytes(b"#" * (watching.MAX_RESOLV_CONF_SIZE + 1)),
        "cannot be read (larger than 1048576 octets); upstreams stay as they were: mend it, or name other upstreams",
    ),
    "a pipe": (
        a_pipe,
        "cannot be read (not a regular file); upstreams stay as they were: mend it, or name other upstreams",
    ),
}  # fmt: skip


class TestBadContents:
    @pytest.mark.parametrize("kind", BROKEN)
    def test_are_said_once_at_the_second_look_and_change_nothing(self, desk: Desk, kind: str) -> None:
        change, sentence = BROKEN[kind]
        change(desk.file)
        assert desk.look() == []
        assert desk.look() == [f"{desk.file} {sentence}"]
        assert desk.look() == []
        assert (desk.asked(), desk.told()) == (["192.0.2.1:53"], [])

    @pytest.mark.parametrize("kind", BROKEN)
    def test_restored_before_the_second_look_nothing_is_said(self, desk: Desk, kind: str) -> None:
        BROKEN[kind][0](desk.file)
        assert desk.look() == []
        swapped_by_rename(desk.file, "nameserver 192.0.2.1\n")
        assert (desk.look(), desk.look(), desk.told()) == ([], [], [])

    @pytest.mark.parametrize("kind", BROKEN)
    def test_mended_the_file_is_followed_again(self, desk: Desk, kind: str) -> None:
        BROKEN[kind][0](desk.file)
        desk.look()
        desk.look()
        swapped_by_rename(desk.file, "nameserver 192.0.2.2\n")
        assert desk.look() == [f"zone . asks 192.0.2.2:53 from now on ({desk.file} changed)"]

    def test_changed_and_still_bad_is_said_again(self, desk: Desk) -> None:
        desk.file.unlink()
        desk.look()
        assert "does not exist" in desk.look()[0]
        desk.file.write_text("")
        assert desk.look() == []
        assert "names no nameserver" in desk.look()[0]

    def test_one_bad_file_does_not_hold_up_another(self, tmp_path: Path) -> None:
        file, second = tmp_path / "resolv.conf", tmp_path / "second"
        for path in (file, second):
            path.write_text("nameserver 192.0.2.1\n")
        desk = Desk(tmp_path, Zone(zone=".", upstreams=(str(file), str(second))))
        file.write_text("")
        second.write_text("nameserver 192.0.2.2\n")
        assert desk.look() == [f"zone . asks 192.0.2.1:53, 192.0.2.2:53 from now on ({second} changed)"]
        assert "names no nameserver" in desk.look()[0]

    def test_a_line_without_its_end_counts_when_it_stays_so(self, desk: Desk) -> None:
        desk.file.write_text("nameserver 192.0.2")
        assert desk.look() == []
        desk.file.write_text("nameserver 192.0.2.2")
        assert (desk.look(), desk.asked()) == ([], ["192.0.2.1:53"])
        assert desk.look() == [f"zone . asks 192.0.2.2:53 from now on ({desk.file} changed)"]
        assert desk.look() == []


class TestTelling:
    def test_a_worker_that_is_behind_is_told_again_what_is_true_then(self, desk: Desk) -> None:
        desk.file.write_text("nameserver 192.0.2.2\n")
        desk.look()
        desk.told(is_behind=True)
        desk.file.write_text("nameserver 192.0.2.3\n")
        desk.look()
        (order,) = desk.told()
        assert isinstance(order, link.Upstreams)
        assert order.names() == ["192.0.2.3:53"]
        assert desk.told() == []

    def test_nothing_changed_nothing_is_told(self, desk: Desk) -> None:
        assert (desk.look(), desk.told()) == ([], [])


class TestRows:
    def test_a_row_is_given_out_once(self, desk: Desk) -> None:
        assert desk.following.shown() == {"192.0.2.1:53": True}
        desk.file.write_text("nameserver 192.0.2.2\nnameserver 192.0.2.3\n")
        desk.look()
        assert desk.following.shown() == {"192.0.2.1:53": False, "192.0.2.2:53": True, "192.0.2.3:53": True}
        desk.file.write_text("nameserver 192.0.2.3\nnameserver 192.0.2.1\n")
        desk.look()
        assert desk.following.shown() == {"192.0.2.1:53": True, "192.0.2.2:53": False, "192.0.2.3:53": True}
        assert desk.following.upstreams.row_numbers() == {"192.0.2.3:53": 2, "192.0.2.1:53": 0}

    def test_the_last_row_is_for_all_who_come_after(self, tmp_path: Path) -> None:
        many = tuple(f"198.51.100.{number}:53" for number in range(counters.MAX_UPSTREAMS - 2))
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 192.0.2.1\n")
        desk = Desk(tmp_path, Zone(zone=".", upstreams=(*many, str(file))))
        rows = dict.fromkeys((*many, "192.0.2.1:53"), True)
        assert list(desk.following.shown().items()) == list(rows.items())
        for number in (2, 3):
            file.write_text(f"nameserver 192.0.2.{number}\n")
            desk.look()
            assert list(desk.following.shown().items()) == list((rows | {"192.0.2.1:53": False, "other": True}).items())
            assert desk.following.upstreams.row_numbers()[f"192.0.2.{number}:53"] == counters.MAX_UPSTREAMS - 1
        file.write_text("nameserver 192.0.2.1\n")
        desk.look()
        assert list(desk.following.shown().items()) == list((rows | {"other": False}).items())


class TestHostsFiles:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        (tmp_path / "resolv.conf").touch()
        (tmp_path / "hosts").write_text("192.0.2.8 eight.test\n")
        return tmp_path / "hosts"

    @pytest.fixture
    def desk(self, tmp_path: Path, file: Path) -> Desk:
        return Desk(tmp_path, hosts=(str(file),))

    def test_a_good_one_is_taken_over_at_once(self, desk: Desk, file: Path) -> None:
        file.write_text("192.0.2.8 eight.test\n192.0.2.9 nine.test\n")
        assert desk.look() == [f"{file} changed: 4 records are pinned from now on"]
        assert desk.told() == [desk.following.pinned]
        assert len(desk.following.pinned.records) == 4

    def test_a_bad_one_is_said_at_the_second_look_and_changes_nothing(self, desk: Desk, file: Path) -> None:
        before = desk.following.pinned
        file.write_text("999.0.2.9 nine.test\n")
        assert desk.look() == []
        (complaint,) = desk.look()
        assert complaint.startswith(f"{file}:1: ")
        assert complaint.endswith("; pinned names stay as they were")
        assert (desk.look(), desk.told(), desk.following.pinned) == ([], [], before)

    def test_one_that_is_being_written_is_waited_for(self, desk: Desk, file: Path) -> None:
        """An editor empties the file first: no name may be gone meanwhile."""
        before = desk.following.pinned
        file.write_text("")
        assert desk.look() == []
        assert desk.following.pinned == before
        file.write_text("192.0.2.8 eight.test\n")
        assert desk.look() == [], "it says what it said before"
        assert desk.following.pinned == before

    def test_one_that_stays_empty_is_believed(self, desk: Desk, file: Path) -> None:
        file.write_text("")
        desk.look()
        assert desk.look() == [f"{file} changed: 0 records are pinned from now on"]
        assert desk.told() == [link.Pinned([])]

    def test_more_names_than_a_worker_can_be_told(self, desk: Desk, file: Path) -> None:
        desk.refusal = "too many"
        file.write_text("192.0.2.9 nine.test\n")
        assert desk.look() == []
        assert desk.look() == ["hosts: too many; pinned names stay as they were"]
