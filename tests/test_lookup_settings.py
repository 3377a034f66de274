"""What either libc takes from a resolv.conf file."""

import pytest

from forwarder.lookup.settings import Libc, server_from_text, settings_for


class TestFile:
    def test_nothing_written_is_what_both_do_by_default(self) -> None:
        for libc in Libc:
            found = settings_for("", libc)
            assert found.nameservers == ("127.0.0.1:53",)
            assert (found.ndots, found.timeout, found.attempts, found.search) == (1, 5, 2, ())

    def test_a_nameserver_written_twice_is_asked_twice_and_a_fourth_never(self) -> None:
        text = "".join(f"nameserver 192.0.2.{number}\n" for number in (1, 1, 2, 3))
        assert settings_for(text, Libc.MUSL).nameservers == ("192.0.2.1:53", "192.0.2.1:53", "192.0.2.2:53")

    def test_another_server_leaves_search_and_options(self) -> None:
        text = "nameserver 192.0.2.1\nsearch a.test\noptions ndots:5\n"
        found = settings_for(text, Libc.GLIBC, server="192.0.2.9:5300")
        assert (found.nameservers, found.search, found.ndots) == (("192.0.2.9:5300",), ("a.test",), 5)

    @pytest.mark.parametrize(("libc", "search"), [(Libc.GLIBC, ("lab.test",)), (Libc.MUSL, ())])
    def test_only_glibc_takes_the_hosts_own_domain(self, libc: Libc, search: tuple[str, ...]) -> None:
        assert settings_for("", libc, host_name="node.lab.test").search == search
        assert settings_for("search x.test\n", libc, host_name="node.lab.test").search == ("x.test",)

    @pytest.mark.parametrize(("length", "search"), [(254, 1), (255, 0)])
    def test_musl_passes_over_long_lines(self, length: int, search: int) -> None:
        text = f"search {'x' * (length - 7)}\nnameserver 192.0.2.1\n"
        assert len(settings_for(text, Libc.MUSL).search) == search
        assert len(settings_for(text, Libc.GLIBC).search) == 1


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "libc", "numbers"),
        [
            ("ndots:5 timeout:1 attempts:3", Libc.GLIBC, (5, 1, 3)),
            ("ndots:99 timeout:99 attempts:99", Libc.GLIBC, (15, 30, 5)),
            ("ndots:99 timeout:99 attempts:99", Libc.MUSL, (15, 60, 10)),
            ("ndots:x timeout: attempts:0", Libc.GLIBC, (0, 0, 0)),
            ("ndots:2 ndots:3", Libc.MUSL, (3, 5, 2)),
        ],
    )
    def test_numbers_within_the_bounds_of_the_libc(self, options: str, libc: Libc, numbers: tuple[int, int, int]) -> None:
        found = settings_for(f"options {options}\n", libc)
        assert (found.ndots, found.timeout, found.attempts) == numbers

    def test_flags_are_glibcs_alone(self) -> None:
        text = "options single-request-reopen edns0 no_tld_query use-vc\noptions -use-vc debug\n"
        assert settings_for(text, Libc.GLIBC).flags == {"single-request-reopen", "edns0", "no-tld-query"}
        assert settings_for(text, Libc.MUSL).flags == frozenset()


class TestServer:
    @pytest.mark.parametrize(
        ("text", "server"),
        [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5300", "192.0.2.1:5300"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"),
            ("[fe80::1%eth0]:5300", "[fe80::1%eth0]:5300"),
        ],
    )
    def test_addresses(self, text: str, server: str) -> None:
        assert server_from_text(text) == server

    @pytest.mark.parametrize(
        "text", ["", "dns.test", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "[::1]x", "[::1", "192.0.2.1:\u0663"]
    )
    def test_all_else_is_said_to_be_wrong(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"ADDRESS|port"):
            server_from_text(text)
