"""Reading listed parts under the service's own Bind; the other rights are tried in test_relay."""

import pytest

from proxy.domain.backend_login import ServiceIdentityLogin
from proxy.domain.secret import Secret
from proxy.wire.events import ToBackend, ToClient
from proxy.wire.ldap import grammar, rights
from tests.wire.ldap import requests as ldap

LOGIN = ServiceIdentityLogin(
    "cn=sidegate,dc=example,dc=org",
    Secret("pw"),
    f"dn:{ldap.ALICE}",
    (ldap.PEOPLE, "ou=groups,dc=example,dc=org"),
    ("uid", "CN", "member", "sAMAccountName"),
)
NOT_LISTED = "This part of the directory, or one of these attributes, is not available here"
READ_ONLY = "Only searching and comparing is available here"


def judged(raw: bytes):
    return rights.judge(LOGIN)(grammar.parse(raw))


def search(
    *attributes: str,
    base: str = ldap.PEOPLE,
    scope: int = 2,
    deref: int = 0,
    wanted: bytes = ldap.present(),
    controls: tuple[bytes, ...] = (),
) -> bytes:
    operation = ldap.tlv(
        0x63,
        ldap.text(base),
        ldap.number(scope, 10),
        ldap.number(deref, 10),
        ldap.number(5),
        ldap.number(30),
        ldap.tlv(1, b"\xff"),
        wanted,
        ldap.tlv(0x30, *map(ldap.text, attributes)),
    )
    return ldap.message(7, operation, *controls)


DOMAIN_SCOPE = b"1.2.840.113556.1.4.1339"


def sent(*attributes: str, controls: tuple[bytes, ...] = (), **more) -> bytes:
    """A search as the backend gets it."""
    return search(*attributes, controls=(*controls, ldap.control(DOMAIN_SCOPE)), **more)


def goes_out_as(request: bytes, other: bytes) -> None:
    assert judged(request) == ToBackend(other)


def refused(request: bytes, code: int, says: str, tag: int = 0x65) -> None:
    assert judged(request) == ToClient(ldap.answer(7, tag, code, says))


def test_what_is_listed_is_searched():
    goes_out_as(search("uid", "cn"), sent("uid", "cn"))
    for wanted in (ldap.equal("uid"), ldap.equal("UID;lang-en"), ldap.tlv(0xA0, ldap.present(), ldap.equal("cn"))):
        goes_out_as(search("uid", wanted=wanted), sent("uid", wanted=wanted))


@pytest.mark.parametrize("base", [ldap.ALICE, "OU=People, DC=Example,dc=org", "cn=a,ou=groups,dc=example,dc=org"])
def test_the_listed_parts_and_what_is_below(base):
    goes_out_as(search("uid", base=base), sent("uid", base=base))


OUTSIDE = [
    "",
    "dc=example,dc=org",
    "ou=services,dc=example,dc=org",
    "ou=xpeople,dc=example,dc=org",
    "people,dc=example,dc=org",
    f"{ldap.PEOPLE},dc=x",
    "2.5.4.11=people,dc=example,dc=org",
    f"cn=x\\,{ldap.PEOPLE}",
]


@pytest.mark.parametrize("base", OUTSIDE)
def test_nothing_beside_or_above(base):
    code, says = (34, "Malformed distinguished name") if base.startswith("people") else (50, NOT_LISTED)
    refused(search("uid", base=base), code, says)
    refused(ldap.message(7, ldap.tlv(0x6E, ldap.text(base), ldap.equal("uid", tag=0x30))), code, says, 0x6F)


@pytest.mark.parametrize(
    "base", ["<GUID=0123456789abcdef0123456789abcdef>", "<WKGUID=a9d1ca15,dc=example,dc=org>", b"\xff"]
)
def test_no_other_way_to_name_an_entry(base):
    refused(search("uid", base=base), 34, "Malformed distinguished name")


def test_the_root_dse_is_everybodys():
    root = search("supportedControl", base="", scope=0)
    goes_out_as(root, sent("supportedControl", base="", scope=0))
    refused(search("supportedControl", base="", scope=1), 50, NOT_LISTED)
    guarded = search("x", base="", scope=0, wanted=ldap.equal("userPassword"))
    refused(guarded, 53, "Passwords cannot be compared or changed here")


@pytest.mark.parametrize("asked", [(), ("*",), ("*", "+"), ("uid", "*")])
def test_everything_is_everything_listed(asked):
    goes_out_as(search(*asked), sent("uid", "CN", "member", "sAMAccountName"))


def test_what_is_not_listed_is_left_out():
    goes_out_as(search("uid", "mail", "userPassword", "@person", "+"), sent("uid"))
    goes_out_as(search("member;range=0-1499", "SAMACCOUNTNAME"), sent("member;range=0-1499", "SAMACCOUNTNAME"))
    for asked in (("mail",), ("+",), ("1.1",), ("uid ",)):
        goes_out_as(search(*asked), sent("1.1"))


def test_aliases_lead_nowhere():
    goes_out_as(search("uid", deref=3), sent("uid", deref=0))


UNLISTED = {
    "equal": ldap.equal("mail"),
    "present": ldap.present("mail"),
    "greater": ldap.equal("mail", tag=0xA5),
    "approx": ldap.equal("mail", tag=0xA8),
    "substrings": ldap.tlv(0xA4, ldap.text("mail"), ldap.tlv(0x30, ldap.text("a", 0x80))),
    "extensible": ldap.tlv(0xA9, ldap.text("2.5.13.2", 0x81), ldap.text("mail", 0x82), ldap.text("x", 0x83)),
    "in a not in an or": ldap.tlv(0xA1, ldap.equal("uid"), ldap.tlv(0xA2, ldap.equal("mail"))),
    "by number": ldap.equal("0.9.2342.19200300.100.1.3"),
}


@pytest.mark.parametrize("wanted", UNLISTED.values(), ids=UNLISTED)
def test_a_filter_tells_nothing_that_is_not_listed(wanted):
    refused(search("uid", wanted=wanted), 50, NOT_LISTED)


def test_compares():
    request = ldap.message(7, ldap.tlv(0x6E, ldap.text(ldap.ALICE), ldap.equal("cn", tag=0x30)))
    goes_out_as(request, request)
    refused(ldap.message(7, ldap.tlv(0x6E, ldap.text(ldap.ALICE), ldap.equal("mail", tag=0x30))), 50, NOT_LISTED, 0x6F)


def test_controls():
    kept = (ldap.control(ldap.PAGED, True, b"cookie"), ldap.control(b"2.16.840.1.113730.3.4.2", False))
    passed = (ldap.control(ldap.PAGED, True, b"cookie"), ldap.control(b"2.16.840.1.113730.3.4.2"))
    dropped = ldap.control(b"1.2.840.113556.1.4.473", False, b"sort by mail")
    goes_out_as(search("uid", controls=(*kept, dropped)), sent("uid", controls=passed))
    refused(search("uid", controls=(ldap.control(b"1.2.3", True),)), 12, "A critical control is not available")
    proxied = ldap.control(ldap.PROXIED, False, b"dn:cn=x")
    refused(search("uid", controls=(proxied,)), 2, "Proxied authorization is not available")


@pytest.mark.parametrize("critical", [True, None])
def test_domain_scope_is_said_once(critical):
    scoped = search("uid", controls=(ldap.control(DOMAIN_SCOPE, critical),))
    goes_out_as(scoped, scoped)


def test_who_am_i_is_the_person():
    value = ldap.text(f"dn:{ldap.ALICE}", 0x8B)
    assert judged(ldap.extended(7, ldap.WHO_AM_I)) == ToClient(ldap.answer(7, 0x78, 0, "", value))


@pytest.mark.parametrize(
    ("request_", "tag"),
    [
        (ldap.modify(7, ldap.change("cn", "x")), 0x67),
        (ldap.add(7, ldap.attribute("cn", "x")), 0x69),
        (ldap.delete(7), 0x6B),
        (ldap.modify_dn(7, "cn=x"), 0x6D),
        (ldap.extended(7, ldap.CANCEL, b"\x30\x03\x02\x01\x01"), 0x78),
    ],
)
def test_nothing_else(request_, tag):
    refused(request_, 53, READ_ONLY, tag)


def test_abandon():
    goes_out_as(ldap.abandon(8, 7), ldap.abandon(8, 7))
    assert judged(ldap.abandon(8, 7, ldap.control(ldap.PROXIED, True, b"dn:cn=x"))) == ToClient(b"")
