"""Single values: what they become, and what they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import values
from proxy.config.document import Scalar
from proxy.config.errors import START
from proxy.config.reader import Bad
from proxy.config.settings import Address, BackendTls


def plain(text: str) -> Scalar:
    return Scalar(START, text, plain=True)


def quoted(text: str) -> Scalar:
    return Scalar(START, text, plain=False)


GOOD: list[tuple[Callable[[Scalar], object], str, object]] = [
    (values.text, "0777", "0777"),
    (values.flag, "true", True),
    (values.flag, "false", False),
    (values.whole(1, 10), "10", 10),
    (values.duration("1s", "90d"), "90d", 7_776_000.0),
    (values.duration("1s", "90d"), "12h", 43_200.0),
    (values.duration("1s", "90d"), "1.5m", 90.0),
    (values.duration("0s", "90d"), "250ms", 0.25),
    (values.duration("0s", "90d"), "2w", 1_209_600.0),
    (values.one_of(BackendTls), "none", BackendTls.NONE),
    (values.absolute_path, "/etc/x", Path("/etc/x")),
    (values.listen_address, "[::]:993", Address("::", 993)),
    (values.listen_address, "127.0.0.1:0", Address("127.0.0.1", 0)),
    (values.backend_address, "Mail.Example.org:993", Address("mail.example.org", 993)),
    (values.backend_address, "[2001:DB8::1]:143", Address("2001:db8::1", 143)),
    (values.host_name, "MX1", "mx1"),
    (values.server_name, "10.0.0.5", "10.0.0.5"),
    (values.sni_name, "*.example.org", "*.example.org"),
    (values.mail_domain, "Example.ORG", "example.org"),
    (values.mail_domain, "bücher.example", "xn--bcher-kva.example"),
    (values.network, "10.0.0.0/8", "10.0.0.0/8"),
    (values.network, "192.0.2.7", "192.0.2.7/32"),
    (values.network, "2001:db8::/32", "2001:db8::/32"),
    (values.portal_url, "https://login.example.org/app?x=1", "https://login.example.org/app?x=1"),
    (values.portal_url, "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    (values.portal_url, "http://[::1]:8080/", "http://[::1]:8080/"),
    (values.store_url, "sqlite:/var/lib/x.db", "sqlite:/var/lib/x.db"),
    (values.template, "{local}@{domain}", "{local}@{domain}"),
    (values.separator, "*", "*"),
]


@pytest.mark.parametrize(("convert", "text", "expected"), GOOD)
def test_good(convert: Callable[[Scalar], object], text: str, expected: object) -> None:
    assert convert(plain(text)) == expected


BAD: list[tuple[Callable[[Scalar], object], Scalar, str]] = [
    (values.text, plain(""), "is empty; write a value or remove the key"),
    (values.text, quoted("  "), "is empty; write a value or remove the key"),
    (values.text, quoted("x" * 1025), "is longer than 1024 characters"),
    (values.flag, plain("yes"), "must be true or false, without quotes"),
    (values.flag, quoted("true"), "must be true or false, without quotes"),
    (values.whole(1, 10), plain("11"), "is out of range; write a number from 1 to 10"),
    (values.whole(1, 10), plain("1e3"), "must be a whole number, from 1 to 10, without quotes"),
    (values.whole(1, 10), quoted("5"), "must be a whole number, from 1 to 10, without quotes"),
    (values.whole(1, 10), plain("9" * 5000), "must be a whole number, from 1 to 10, without quotes"),
    (values.duration("1s", "1h"), plain("30"), "must be a duration with its unit: 250ms, 30s, 5m, 12h, 90d or 2w"),
    (values.duration("1s", "1h"), plain("2h"), "is out of range; write a duration from 1s to 1h"),
    (values.one_of(BackendTls), plain("ssl"), "is none of implicit, starttls, none"),
    (values.one_of(BackendTls, ("later",)), plain("later"), "later is not in this version of sidegate; write one of"),
    (values.user, quoted("root\x00"), "is no user of this machine; create it, or remove it here"),
    (values.absolute_path, plain("key.pem"), "must be an absolute path; begin it with /"),
    (values.listen_address, plain("993"), 'must be host:port; write "[::]:993" for all addresses'),
    (values.listen_address, plain("mail:993"), "has no IP address before the port"),
    (values.listen_address, plain(":::993"), "has a bare IPv6 address or stray brackets; write [2001:db8::1]:993"),
    (values.listen_address, plain("[::]:99999"), "has a port out of range; write 0 to 65535"),
    (values.backend_address, plain("10.0.0.5:0"), "has a port out of range; write 1 to 65535"),
    (values.backend_address, plain("10.0.0.256:25"), "is neither a host name nor an IP address"),
    (values.host_name, plain("a_b"), "is neither a host name nor an IP address"),
    (values.sni_name, plain("a.*.b"), "is neither a host name nor an IP address"),
    (values.mail_domain, plain("@example.org"), "is not a domain; write example.org"),
    (values.mail_domain, plain("-.org"), "is not a domain; write example.org"),
    (values.network, plain("10.0.0.1/8"), "has bits set behind the prefix; write 10.0.0.0/8, or the single address"),
    (values.network, plain("::ffff:10.0.0.0/104"), "is an IPv4 network in IPv6 spelling; write it as IPv4"),
    (values.network, plain("10/8"), "is not a network; write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"),
    (values.portal_url, plain("http://login.example.org"), "must begin with https://"),
    (values.portal_url, plain("ftp://login.example.org"), 'is not a URL; write "https://login.example.org"'),
    (values.portal_url, plain("https://[login"), 'is not a URL; write "https://login.example.org"'),
    (values.portal_url, plain("https://a.example/x:99999 y"), "must be at most 200 letters, digits and"),
    (values.portal_url, plain('https://a.example/"]'), "must be at most 200 letters, digits and"),
    (values.portal_url, plain("https://a.example/" + "x" * 200), "must be at most 200 letters, digits and"),
    (values.store_url, plain("sqlite:x.db"), "must be sqlite: and an absolute path"),
    (values.store_url, plain("sqlite:///x.db"), "must be sqlite: and an absolute path"),
    (values.store_url, plain("postgresql://a@b/c"), "PostgreSQL is not in this version of sidegate"),
    (values.template, plain("{account.__class__}"), "holds something else in braces than {account}, {local}"),
    (values.template, plain("{account!r}"), "holds something else in braces than {account}, {local}"),
    (values.template, plain("{account:>99999999}"), "holds something else in braces than {account}, {local}"),
    (values.template, plain("{}"), "holds something else in braces than {account}, {local}"),
    (values.template, plain("{local"), "has a brace without its partner; write {account} or {local}"),
    (values.separator, plain("**"), 'must be one punctuation character; write "*"'),
    (values.separator, plain("a"), 'must be one punctuation character; write "*"'),
]


@pytest.mark.parametrize(("convert", "scalar", "message"), BAD)
def test_bad(convert: Callable[[Scalar], object], scalar: Scalar, message: str) -> None:
    with pytest.raises(Bad) as caught:
        convert(scalar)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("template", "domains", "collides"),
    [
        ("{account}", ("a.org", "b.org"), False),
        ("{local}", ("a.org",), False),
        ("{local}", ("a.org", "b.org"), True),
        ("{local}@{domain}", ("a.org", "sub.a.org"), False),
        ("{local}.{domain}", ("a.org", "b.org"), False),
        ("{local}.{domain}", ("a.org", "sub.a.org"), True),
        ("{local}{domain}", ("a.org", "ba.org"), True),
        ("{domain}/{local}", ("a.org", "a.org.uk"), False),
        ("{domain}.{local}", ("a.org", "a.org.uk"), True),
        ("{domain}", ("a.org",), True),
        ("everybody", ("a.org",), True),
        ("{local}{local}", ("a.org",), True),
    ],
)
def test_templates_that_give_two_accounts_one_name(template: str, domains: tuple[str, ...], collides: bool) -> None:
    assert (values.same_name_for_two(template, domains) is not None) == collides


LOCAL = st.text("ab.-@/"[:4], min_size=1, max_size=4)
PARTS = st.lists(st.sampled_from(["{local}", "{domain}", ".", "-", "a", "@"]), min_size=1, max_size=4)


@given(PARTS, LOCAL, LOCAL)
def test_a_template_that_passes_never_gives_two_accounts_one_name(parts: list[str], one: str, other: str) -> None:
    template, domains = "".join(parts), ("a.b", "b.a.b", "a")
    if values.same_name_for_two(template, domains) is not None:
        return
    names = {
        (local, domain): template.format(local=local, domain=domain) for local in (one, other) for domain in domains
    }
    assert len(set(names.values())) == len(names)


def test_loopback() -> None:
    yes, no = ("127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"), ("10.0.0.1", "localhost.evil.org", "")
    assert [values.is_loopback(host) for host in yes] == [True] * 5
    assert [values.is_loopback(host) for host in no] == [False] * 3
