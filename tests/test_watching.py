"""The files that the configuration names: read with problems that name them, seen to change in every way files change."""

import os
from pathlib import Path

import pytest

from forwarder import watching
from forwarder.config import Config, Hosts, Listen, Zone
from forwarder.errors import ConfigError


def config(*upstreams: str, listen: tuple[str, ...] = ("127.0.0.1:53",)) -> Config:
    return Config(zones=(Zone(zone=".", upstreams=upstreams),), listen=Listen(addresses=listen))


def addresses(asked: watching.Asked) -> list[str]:
    (zone,) = asked.upstreams.zones
    return zone.addresses


class TestAsked:
    def test_addresses_and_nameservers_in_the_order_written(self, tmp_path: Path) -> None:
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.com\n")
        asked = watching.asked(config("192.0.2.9:5353", str(file), "192.0.2.8:53"))
        assert addresses(asked) == ["192.0.2.9:5353", "192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.8:53"]
        assert asked.warnings == ()

    def test_an_address_named_twice_is_asked_once(self, tmp_path: Path) -> None:
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 192.0.2.1\n")
        assert addresses(watching.asked(config("192.0.2.1:53", str(file)))) == ["192.0.2.1:53"]

    @pytest.mark.parametrize("text", ["", "search example.com\n", "# nameserver 192.0.2.1\n"])
    def test_no_nameserver_is_a_warning_that_says_what_to_write(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "resolv.conf"
        file.write_text(text)
        asked = watching.asked(config(str(file)))
        assert addresses(asked) == []
        assert asked.warnings == (
            f"zone .: {file} names no nameserver; write `nameserver ADDRESS` there, or the address under zones[].upstreams",
        )

    def test_a_missing_file_is_a_warning(self, tmp_path: Path) -> None:
        asked = watching.asked(config(str(tmp_path / "none")))
        assert addresses(asked) == []
        assert "does not exist" in asked.warnings[0]

    def test_every_unreadable_file_is_a_problem_of_its_own(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "large").write_bytes(b"#" * (watching.MAX_RESOLV_CONF_SIZE + 1))
        paths = [str(tmp_path / name) for name in ("folder", "pipe", "large")]
        with pytest.raises(ConfigError) as raised:
            watching.asked(config(*paths))
        assert [problem.where for problem in raised.value.problems] == paths

    def test_we_never_ask_ourselves(self, tmp_path: Path) -> None:
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.1\n")
        asked = watching.asked(config(str(file)))
        assert addresses(asked) == ["192.0.2.1:53"]
        assert "127.0.0.1:53, which is this daemon" in asked.warnings[0]
        assert len(asked.warnings) == 1

    def test_only_ourselves_is_nobody(self, tmp_path: Path) -> None:
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 127.0.0.1\n")
        asked = watching.asked(config(str(file), listen=("0.0.0.0:53",)))
        assert addresses(asked) == []
        assert "names no nameserver but this daemon; write" in asked.warnings[-1]

    def test_another_port_is_not_ourselves(self, tmp_path: Path) -> None:
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 127.0.0.1\n")
        assert addresses(watching.asked(config(str(file), listen=("127.0.0.1:5300",)))) == ["127.0.0.1:53"]

    def test_zones_that_name_one_file_have_the_same_and_each_its_own_beside(self, tmp_path: Path) -> None:
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 192.0.2.1\n")
        zones = (Zone(zone="a.test", upstreams=(str(file), "192.0.2.7:53")), Zone(zone=".", upstreams=(str(file),)))
        asked = watching.asked(Config(zones=zones))
        assert [zone.addresses for zone in asked.upstreams.zones] == [["192.0.2.1:53", "192.0.2.7:53"], ["192.0.2.1:53"]]
        assert {path: named.addresses for path, named in asked.nameservers.items()} == {str(file): ("192.0.2.1:53",)}

    def test_search_domains_of_all_files_each_once(self, tmp_path: Path) -> None:
        (tmp_path / "one").write_text("nameserver 192.0.2.1\nsearch svc.cluster.local Cluster.LOCAL.\n")
        (tmp_path / "two").write_text("nameserver 192.0.2.1\nsearch cluster.local corp.example\n")
        zones = (Zone(zone="a", upstreams=(str(tmp_path / "one"),)), Zone(zone=".", upstreams=(str(tmp_path / "two"),)))
        asked = watching.asked(Config(zones=zones))
        assert asked.upstreams.search == ["svc.cluster.local", "cluster.local", "corp.example"]


class TestNameservers:
    @pytest.mark.parametrize(
        ("text", "is_complete"), [("nameserver 192.0.2.1\n", True), ("nameserver 192.0.2.1", False), ("", False)]
    )
    def test_a_line_that_does_not_end_may_go_on(self, tmp_path: Path, text: str, is_complete: bool) -> None:  # noqa: FBT001 - a column of the table
        (tmp_path / "resolv.conf").write_text(text)
        named = watching.nameservers(str(tmp_path / "resolv.conf"), ())
        assert named.is_complete is is_complete

    def test_our_own_are_told_apart(self, tmp_path: Path) -> None:
        (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\nnameserver 127.0.0.1\n")
        named = watching.nameservers(str(tmp_path / "resolv.conf"), ("127.0.0.1:53",))
        assert (named.addresses, named.ours, named.lack) == (("192.0.2.1:53",), ("127.0.0.1:53",), "")

    @pytest.mark.parametrize("word", [".", "..", "a..b", "a" * 64, ".".join(["a" * 60] * 5), "ex\u00e4mple", "a/b", "-\\"])
    def test_what_is_no_name_is_no_search_domain(self, tmp_path: Path, word: str) -> None:
        (tmp_path / "resolv.conf").write_text(f"nameserver 192.0.2.1\nsearch {word} a.test\n")
        assert watching.nameservers(str(tmp_path / "resolv.conf"), ()).search == ("a.test",)

    def test_so_many_search_domains_and_no_more(self, tmp_path: Path) -> None:
        domains = [f"d{number}.test" for number in range(watching.MAX_SEARCH_DOMAINS + 5)]
        (tmp_path / "resolv.conf").write_text(f"nameserver 192.0.2.1\nsearch {' '.join(domains)}\n")
        assert list(watching.nameservers(str(tmp_path / "resolv.conf"), ()).search) == domains[:-5]

    def test_a_pipe_does_not_hold_us_up(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="not a regular file"):
            watching.nameservers(str(tmp_path / "pipe"), ())

    def test_exactly_the_largest_size_is_read(self, tmp_path: Path) -> None:
        line = b"nameserver 192.0.2.1\n"
        (tmp_path / "large").write_bytes(line + b"#" * (watching.MAX_RESOLV_CONF_SIZE - len(line)))
        assert watching.nameservers(str(tmp_path / "large"), ()).addresses == ("192.0.2.1:53",)


class TestReadFiles:
    def test_what_changes_while_it_is_read_is_seen_at_the_first_look(self, tmp_path: Path) -> None:
        (tmp_path / "hosts").write_text("192.0.2.7 seven.test\n")
        (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
        zones = (Zone(zone=".", upstreams=(str(tmp_path / "resolv.conf"), "192.0.2.2:53")),)
        files = watching.read_files(Config(zones=zones, hosts=Hosts(files=(str(tmp_path / "hosts"),))))
        assert addresses(files.asked) == ["192.0.2.1:53", "192.0.2.2:53"]
        assert files.watched.changed() == ()
        (tmp_path / "resolv.conf").write_text("")
        (tmp_path / "hosts").unlink()
        assert files.watched.changed() == (str(tmp_path / "hosts"), str(tmp_path / "resolv.conf"))

    def test_problems_of_all_files_come_together(self, tmp_path: Path) -> None:
        zones = (Zone(zone=".", upstreams=(str(tmp_path),)),)
        with pytest.raises(ConfigError) as raised:
            watching.read_files(Config(zones=zones, hosts=Hosts(files=(str(tmp_path / "missing"),))))
        assert len(raised.value.problems) == 2


class TestPinned:
    def test_records_and_files_together(self, tmp_path: Path) -> None:
        file = tmp_path / "hosts"
        file.write_text("192.0.2.7 seven.test\n")
        zones = (Zone(zone=".", upstreams=("192.0.2.1:53",)),)
        hosts = Hosts(records={"eight.test": ("192.0.2.8",)}, files=(str(file),))
        told = watching.pinned(Config(zones=zones, hosts=hosts))
        names = {record.name for record in told.records}
        assert {b"\x05seven\x04test\x00", b"\x05eight\x04test\x00"} <= names

    def test_a_missing_file_is_a_problem(self, tmp_path: Path) -> None:
        hosts = Hosts(files=(str(tmp_path / "none"),))
        with pytest.raises(ConfigError, match="none"):
            watching.pinned(Config(zones=(Zone(zone=".", upstreams=("192.0.2.1:53",)),), hosts=hosts))


class TestWatched:
    def test_nothing_changed(self, tmp_path: Path) -> None:
        (tmp_path / "hosts").write_text("one")
        watched = watching.Watched([str(tmp_path / "hosts")])
        assert watched.changed() == ()

    @pytest.mark.parametrize("way", ["rewritten", "replaced", "removed", "touched", "made unreadable"])
    def test_each_change_is_told_once(self, tmp_path: Path, way: str) -> None:
        file = tmp_path / "hosts"
        file.write_text("one")
        os.utime(file, ns=(1, 1))
        watched = watching.Watched([str(file)])
        match way:
            case "rewritten":
                file.write_text("two")
            case "replaced":
                (tmp_path / "new").write_text("two")
                os.utime(tmp_path / "new", ns=(1, 1))
                (tmp_path / "new").rename(file)
            case "removed":
                file.unlink()
            case "touched":
                file.touch()
            case "made unreadable":
                file.chmod(0)
        assert watched.changed() == (str(file),)
        assert watched.changed() == ()

    def test_a_file_that_appears(self, tmp_path: Path) -> None:
        file = tmp_path / "hosts"
        watched = watching.Watched([str(file)])
        file.write_text("one")
        assert watched.changed() == (str(file),)

    def test_a_config_map_swaps_a_symlink_above_the_file(self, tmp_path: Path) -> None:
        """What the kubelet does: `hosts` -> `..data/hosts`, `..data` -> a folder, replaced by rename."""
        for folder in ("first", "second"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "hosts").write_text("same")
            os.utime(tmp_path / folder / "hosts", ns=(1, 1))
        (tmp_path / "..data").symlink_to("first")
        (tmp_path / "hosts").symlink_to("..data/hosts")
        watched = watching.Watched([str(tmp_path / "hosts")])
        (tmp_path / "..data_tmp").symlink_to("second")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        assert watched.changed() == (str(tmp_path / "hosts"),)

    def test_empty_is_what_is_there_with_nothing_in_it(self, tmp_path: Path) -> None:
        for name, text in (("empty", ""), ("full", "x")):
            (tmp_path / name).write_text(text)
        watched = watching.Watched([str(tmp_path / name) for name in ("empty", "full", "none")])
        assert [watched.is_empty(str(tmp_path / name)) for name in ("empty", "full", "none")] == [True, False, False]

    def test_only_what_changed_is_named(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).write_text("x")
        watched = watching.Watched([str(tmp_path / "one"), str(tmp_path / "two")])
        (tmp_path / "two").write_text("longer")
        assert watched.changed() == (str(tmp_path / "two"),)
