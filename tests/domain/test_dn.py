"""Distinguished names, and the accounts they stand for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain import dn
from proxy.domain.dn import UNMATCHABLE, Template, login_name, normal, parse
from proxy.domain.login_names import canonical

PEOPLE = Template("uid={local},ou=people,dc=example,dc=org")
HERE = ("example.org",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("uid=alice", ((("uid", "alice"),),)),
        ("UID=Alice,DC=org", ((("uid", "alice"),), (("dc", "org"),))),
        (" uid = alice , dc = org ", ((("uid", "alice"),), (("dc", "org"),))),
        ("uid=", ((("uid", ""),),)),
        ("cn=b+a=c,dc=org", ((("a", "c"), ("cn", "b")), (("dc", "org"),))),
        (r"cn=a\,b\+c\"\\\;\<\>\#\=", ((("cn", 'a,b+c"\\;<>#='),),)),
        (r"cn=a\2Cb\2c", ((("cn", "a,b,"),),)),
        (r"cn=\\2c", ((("cn", r"\2c"),),)),
        (r"cn=Lu\C4\8Di\c4\87", ((("cn", "lučić"),),)),
        ("cn=Lučić", ((("cn", "lučić"),),)),
        (r"cn=a\  ", ((("cn", "a "),),)),
        (r"cn=a\\  ", ((("cn", "a\\"),),)),
        (r"cn=\ a", ((("cn", " a"),),)),
        ("cn=a   b", ((("cn", "a b"),),)),
        ("cn=a=b#c", ((("cn", "a=b#c"),),)),
        ("cn=ＡＬＩＣＥ", ((("cn", "alice"),),)),
        ("cn=Straße", ((("cn", "strasse"),),)),
        (r"cn=a\00b", ((("cn", "a\0b"),),)),
    ],
)
def test_what_is_compared(text: str, expected: dn.Dn) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "alice",
        "alice@example.org",
        "=alice",
        "uid",
        "uid=alice,",
        ",uid=alice",
        "uid=alice,,dc=org",
        "uid=alice+",
        "uid=alice;dc=org",
        "uid=a<b",
        "uid=a\0b",
        'uid=a"b"',
        'uid="a',
        'uid="a"b',
        "uid=#",
        "uid=#0",
        "uid=#04x",
        "uid=a\\",
        r"uid=a\x",
        r"uid=a\4",
        r"uid=\ff",
        r"uid=\C4",
        "1uid=a",
        "u_id=a",
        "uid;lang-en=a",
        "1.=a",
        "uid=\ud800",
        " ",
        r'uid="\q"',
    ],
)
def test_what_is_malformed(text: str) -> None:
    assert parse(text) is None
    assert not dn.is_well_formed(text)
    assert PEOPLE.matches(text) is None


@pytest.mark.parametrize(
    "text",
    [
        'uid="alice",ou=people,dc=example,dc=org',
        'uid="al,\\"ice" ,ou=people,dc=example,dc=org',
        "uid=#0405616c696365,ou=people,dc=example,dc=org",
        "0.9.2342.19200300.100.1.1=alice,ou=people,dc=example,dc=org",
        "OID.0.9.2342.19200300.100.1.1=alice,ou=people,dc=example,dc=org",
        "uid=alice,ou=people,dc=example,dc=org,o=" + "x" * 257,
    ],
)
def test_well_formed_and_nobodys(text: str) -> None:
    assert parse(text) is UNMATCHABLE
    assert dn.is_well_formed(text)
    assert login_name(PEOPLE, text, HERE) is None


def test_a_huge_dn_is_nobodys() -> None:
    """It is not read: composing characters, for one, are sorted in quadratic time."""
    assert parse("cn=" + "\u0301\u0316" * 1_000) is UNMATCHABLE
    assert parse("cn=" + "\u0301\u0316" * 16_000) is UNMATCHABLE
    assert parse("," * 60_000) is UNMATCHABLE
    assert parse("cn=" + "x" * dn.MAX_TEXT) is UNMATCHABLE
    long = parse(",".join(["a=b"] * 1_000))
    assert isinstance(long, tuple)
    assert len(long) == 1_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("uid", "no DN that can be compared"),
        ("1.2.3={local}", "no DN that can be compared"),
        ('uid="{local}"', "no DN that can be compared"),
        ("", "every account one DN"),
        ("uid=alice,dc=org", "every account one DN"),
        ("uid=alice,dc={domain}", "every account one DN"),
        ("uid=x{local},dc=org", "whole values"),
        ("uid={local}x,dc=org", "whole values"),
        ("mail={local}@{domain},dc=org", "whole values"),
        ("uid={user},dc=org", "whole values"),
        ("uid={Local},dc=org", "whole values"),
        ("uid={local},cn={,dc=org", "whole values"),
        (r"uid=\7blocal\7d,dc=org", "whole values"),
        ("uid={local},cn={local},dc=org", "a variable twice"),
        ("uid={local}+cn=x,dc=org", "a component with \\+"),
    ],
)
def test_templates_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Template(text)


@pytest.mark.parametrize(
    ("template", "text", "expected"),
    [
        ("uid={local},ou=people,dc=example,dc=org", "uid=alice,ou=people,dc=example,dc=org", "alice@example.org"),
        ("uid={local},ou=people,dc=example,dc=org", "UID=Alice, OU=People, DC=Example, DC=Org", "alice@example.org"),
        ("uid={local},ou=people,dc=example,dc=org", r"uid=\61lice,ou=people,dc=example,dc=org", "alice@example.org"),
        ("uid={local},cn=a+cn=b", "uid=alice,cn=B+cn=A", "alice@example.org"),
        ("cn={account},dc=org", "cn=Alice@Example.Net,dc=org", "alice@example.net"),
        ("cn={account},dc=org", "cn=alice,dc=org", "alice"),
        ("uid={local},o={domain},dc=org", "uid=alice,o=example.net,dc=org", "alice@example.net"),
        ("cn={account},o={domain},dc=org", "cn=alice@example.net,o=example.net,dc=org", "alice@example.net"),
    ],
)
def test_the_account_of_a_dn(template: str, text: str, expected: str) -> None:
    assert login_name(Template(template), text, HERE) == expected


REST = ",ou=people,dc=example,dc=org"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "uid=alice",
        f"uid=alice,uid=bob{REST}",
        f"uid=alice+uid=bob{REST}",
        f"uid=alice+cn=bob{REST}",
        f"uid=alice,ou=x{REST}",
        f"uid=alice{REST},c=de",
        f"cn=alice{REST}",
        f"uid={REST}",
        "uid=alice,ou=people+uid=bob,dc=example,dc=org",
        "uid=alice,ou=people,dc=example\\,dc=org",
        f"uid=alice@example.net{REST}",
        f"uid=alice\\40example.net{REST}",
        f"uid=alice\\EF\\BC\\A0example.net{REST}",
        f"uid=alice\\2cou\\3dx{REST}",
        f"uid=cn\\3Dalice{REST}",
    ],
)
def test_a_dn_that_is_no_accounts(text: str) -> None:
    assert login_name(PEOPLE, text, HERE) is None


@pytest.mark.parametrize("value", ["*", r"alice\2cou", r"alice\00", r"\20alice", r"alice\ ", "a b", "ä", "(x)", "%u"])
def test_values_that_are_no_login_name_are_refused_there(value: str) -> None:
    name = login_name(PEOPLE, f"uid={value}{REST}", HERE)
    assert name is not None
    assert canonical(name, "example.org") is None


def test_a_domain_is_never_guessed() -> None:
    assert login_name(PEOPLE, f"uid=alice{REST}", ()) is None
    assert login_name(PEOPLE, f"uid=alice{REST}", ("example.org", "example.net")) is None
    both = Template("uid={local},o={domain}")
    assert login_name(both, "uid=alice,o=", HERE) is None
    assert login_name(both, "uid=alice,o=x@y", HERE) is None
    assert login_name(Template("cn={account},o={domain}"), "cn=alice@example.net,o=example.org", HERE) is None
    assert login_name(Template("cn={account},o=x"), "cn=,o=x", HERE) is None
    assert login_name(Template("cn={account},o=x"), r"cn=cn\=alice\,o\=y,o=x", HERE) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("alice@example.org", "uid=alice,o=example.org"),
        ("a,b+c@example.org", r"uid=a\,b\+c,o=example.org"),
        (r"a\b@example.org", r"uid=a\\b,o=example.org"),
        ("{domain}@example.org", "uid={domain},o=example.org"),
        (" #a @example.org", r"uid=\ #a\ ,o=example.org"),
        ("#@example.org", r"uid=\#,o=example.org"),
        (" @example.org", r"uid=\ ,o=example.org"),
        ("a\0@example.org", r"uid=a\00,o=example.org"),
    ],
)
def test_the_dn_of_an_account(address: str, expected: str) -> None:
    assert Template("uid={local},o={domain}").fill(address) == expected


@pytest.mark.parametrize("address", ["alice", ""])
def test_no_dn_with_an_empty_value(address: str) -> None:
    with pytest.raises(ValueError, match="no value"):
        Template("uid={local},o={domain}").fill(address)


LOCAL = st.text("abcdefghijklmnopqrstuvwxyz0123456789._+-'/\\", min_size=1, max_size=64)
DOMAIN = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=64)
TEMPLATES = ("uid={local},o={domain},dc=org", "cn={account},dc=org", "cn={account},o={domain}", "uid={local}")


@given(LOCAL, DOMAIN, st.sampled_from(TEMPLATES))
def test_the_dn_of_an_account_leads_back_to_it(local: str, domain: str, text: str) -> None:
    template, address = Template(text), f"{local}@{domain}"
    filled = template.fill(address)
    values = {"{account}": address, "{local}": local, "{domain}": domain}
    assert template.matches(filled) == {name: values[name] for name in template.variables}
    assert login_name(template, filled, (domain,)) == address


@given(st.text("aZ09._@- ,=\\#\u0130ß\0", max_size=8), st.sampled_from(TEMPLATES), st.booleans())
def test_a_dn_written_as_the_template_is_need_not_be_parsed(value: str, text: str, shout: bool) -> None:
    template = Template(text)
    typed = re.sub(r"\{\w+\}", lambda _: value, text)
    typed = typed.upper() if shout else typed
    assert template.matches(typed) == template._matches_parsed(typed)


@given(LOCAL, LOCAL)
def test_two_accounts_have_two_dns(one: str, other: str) -> None:
    assert (PEOPLE.fill(f"{one}@x.org") == PEOPLE.fill(f"{other}@x.org")) == (one == other)


@given(st.text(max_size=60))
def test_any_value_survives_escaping(value: str) -> None:
    parsed = parse(f"cn={dn.escaped(value)},dc=org")
    if any("\ud800" <= character <= "\udfff" for character in value):
        assert parsed is None
    else:
        octets = "".join(f"\\{byte:02x}" for byte in value.encode())
        assert parsed == parse(f"cn={octets},dc=org")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" CN = Alice  Liddell , OU=People,DC=Example,DC=org ", "cn=alice liddell,ou=people,dc=example,dc=org"),
        (r"CN=Baker\, Bob,DC=org", r"cn=baker\, bob,dc=org"),
        (r"CN=Baker\2C Bob,DC=org", r"cn=baker\, bob,dc=org"),
        (r"cn=Lu\C4\8Di\c4\87", "cn=lučić"),
        ("cn=\u1e9e+A=b", "a=b+cn=ss"),
        (r"cn=\#a\ ", r"cn=\#a\ "),
        ("cn=" + "a" * 256 + ",o=" + "\u00e4" * 256, "cn=" + "a" * 256 + ",o=" + "\u00e4" * 256),
    ],
)
def test_the_normal_form(text: str, expected: str) -> None:
    assert normal(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "cn=",
        "cn=alice,o=",
        "cn=alice,",
        'cn="alice"',
        "cn=#04024869",
        "2.5.4.3=alice",
        "cn=a*",
        "cn=a%u",
        r"cn=a\2A",
        r"cn=a\00",
        r"cn=a\7f",
        "cn=a\tb",
        "cn=a\u202eb",
        "cn=a\u2028b",
        "cn=\ud800",
        "cn=a" + " " * dn.MAX_STORED,
        ",".join("o=" + "\ufdfa" * 14 for _ in range(12)),  # 18 letters each as NFKC
        ",".join(["o=x"] * 65),
    ],
)
def test_no_normal_form(text: str) -> None:
    assert normal(text) is None


def written(values: list[str]) -> str:
    return ",".join(f"cn={dn.escaped(value)}" for value in values)


FOLDED = st.text(st.sampled_from("aSßẞſΣςᾼἈΐ\u0345\u0301\u0308\u0327İıǅﬁÅ \u00a0¨#\\\\,=+"), max_size=12)


@given(
    st.one_of(
        st.text(max_size=60),
        FOLDED.map("cn={}".format),
        st.lists(st.one_of(st.text(max_size=20), FOLDED), max_size=4).map(written),
    )
)
def test_normal_twice_changes_nothing(text: str) -> None:
    once = normal(text)
    if once is not None:
        assert normal(once) == once
        assert parse(once) == parse(text)
        assert once.isprintable()
        assert not set(once) & set("*%")


@given(st.text('ua=,+\\"# ;1.*\u0130ß\0', max_size=40))
def test_whatever_comes_is_answered(text: str) -> None:
    parsed = parse(text)
    name = login_name(PEOPLE, text, HERE)
    assert parsed is None or parsed is UNMATCHABLE or isinstance(parsed, tuple)
    assert name is None


@given(st.text(max_size=40))
def test_only_one_account_is_found_for_a_value(value: str) -> None:
    """What is found for a DN is the DN of that account, component by component."""
    text = f"uid={value}{REST}"
    name = login_name(PEOPLE, text, HERE)
    if name is not None:
        assert parse(PEOPLE.fill(name)) == parse(text)
