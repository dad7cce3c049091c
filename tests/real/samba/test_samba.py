"""Samba does what docs/backends/active-directory.md says, without sidegate in between."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from proxy.wire.ldap.inspection import GUARDED
from tests.peers.process import wait_until
from tests.peers.samba import (
    ADMINISTRATOR,
    ADMINISTRATOR_PASSWORD,
    ALICE,
    BASE,
    BOB,
    MAIL_USERS,
    PEOPLE,
    SERVICE,
    SERVICE_PASSWORD,
    STAFF,
    USERS,
    Samba,
    unicode_password,
    user,
)
from tests.real.ldap.client import PROXIED_AUTHORIZATION, Done, Ldap, Where, control, search, tool
from tests.real.samba.conftest import direct
from tests.wire.ldap.requests import text, tlv

pytestmark = pytest.mark.real

DOMAIN_SCOPE = b"1.2.840.113556.1.4.1339"
MEMBERS = tlv(0x30, text("1.2.840.113556.1.4.1504"), tlv(0x01, b"\xff"), tlv(0x04, tlv(0x30, text("member"))))
"""An attribute scoped query, critical."""
IN_CHAIN = "1.2.840.113556.1.4.1941"
SEARCH_ENTRY, SEARCH_REFERENCE, EXTENDED_RESPONSE = 0x64, 0x73, 0x78


def as_service(samba: Samba, *arguments: str) -> Done:
    """ldapsearch; what a shell line would hold behind its credentials."""
    arguments = ("-LLL", "-o", "ldif-wrap=no", *arguments)
    return tool(direct(samba), "ldapsearch", *arguments, dn=SERVICE, password=SERVICE_PASSWORD)


def names(done: Done) -> list[str]:
    """The DNs that ldapsearch printed, sorted; references are left out."""
    assert done.code == 0, done.seen
    return sorted(re.findall(r"^dn: (.*)$", done.seen, re.MULTILINE))


@pytest.fixture
def service(samba: Samba) -> Iterator[Ldap]:
    """A connection bound as the service."""
    client = Ldap(direct(samba))
    assert client.bind(SERVICE, SERVICE_PASSWORD).code == 0
    yield client
    client.close()


# ---- the Bind --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param(ALICE, 0, id="DN"),
        pytest.param("cn=alice  liddell, ou=people, dc=EXAMPLE,dc=test", 0, id="DN otherwise spelled"),
        pytest.param("Alice@Example.Test", 0, id="UPN"),
        pytest.param("alice@EXAMPLE", 0, id="sAMAccountName and domain"),
        pytest.param("example\\Alice", 0, id="DOMAIN and sAMAccountName"),
        pytest.param("alice", 49, id="sAMAccountName alone"),
        pytest.param("Alice Liddell", 49, id="displayName"),
    ],
)
def test_names(samba: Samba, name: str, code: int) -> None:
    assert Ldap(direct(samba)).bind(name, USERS["alice"]).code == code


@pytest.mark.parametrize("name", [BOB, BOB.replace("\\,", "\\2C"), f'CN="Baker, Bob",{PEOPLE}'])
def test_a_comma_in_a_name(samba: Samba, name: str) -> None:
    assert Ldap(direct(samba)).bind(name, USERS["bob"]).code == 0


def test_tls_is_asked_for(samba: Samba) -> None:
    """Even before the name and the password are looked at."""
    client = Ldap(direct(samba, "none"))
    refused = client.bind("nobody@example.test", "x")
    assert (refused.code, refused.text) == (8, "BindSimple: Transport encryption required.")
    assert Ldap(direct(samba, "starttls")).bind(ALICE, USERS["alice"]).code == 0


@pytest.mark.parametrize(
    ("number", "change"),
    [
        pytest.param("533", "replace: userAccountControl\nuserAccountControl: 514", id="disabled"),
        pytest.param("701", "replace: accountExpires\naccountExpires: 132000000000000000", id="expired"),
        pytest.param("773", "replace: pwdLastSet\npwdLastSet: 0", id="must change"),
    ],
)
def test_why_a_person_is_refused(samba: Samba, number: str, change: str) -> None:
    """With the right password; a wrong one, and a name nobody has, are 52e whatever the account is."""
    name, password = f"user{number}", "Some-account-password-1"
    dn = f"CN={name},{PEOPLE}"
    samba.ldif("ldapadd", user(dn, name, password))
    samba.ldif("ldapmodify", f"dn: {dn}\nchangetype: modify\n{change}\n")
    for login, secret, expected in ((name, password, number), (name, "wrong", "52e"), ("nobody", "wrong", "52e")):
        refused = Ldap(direct(samba)).bind(f"{login}@example.test", secret)
        assert refused.code == 49
        assert f"AcceptSecurityContext error, data {expected}, " in refused.text
    samba.ldif("ldapmodify", f"dn: {dn}\nchangetype: delete\n")


def test_locked_out(samba: Samba) -> None:
    """A failure each time: whoever forwards wrong passwords locks people out."""
    dn = f"CN=locked,{PEOPLE}"
    samba.ldif("ldapadd", user(dn, "locked", "Some-account-password-1"))
    threshold = f"dn: {BASE}\nchangetype: modify\nreplace: lockoutThreshold\nlockoutThreshold: "
    samba.ldif("ldapmodify", f"{threshold}2\n")
    try:
        client = Ldap(direct(samba))
        for _ in range(2):
            assert "data 52e," in client.bind(dn, "wrong").text
        assert "data 775," in client.bind(dn, "Some-account-password-1").text
    finally:
        samba.ldif("ldapmodify", f"{threshold}0\n\ndn: {dn}\nchangetype: delete\n")


def test_without_a_bind(samba: Samba) -> None:
    client = Ldap(direct(samba))
    assert client.ask(search("", scope=0)).entries == 1
    assert client.search(PEOPLE).code == 1
    assert client.bind(ALICE, "").code == 49


def test_a_failed_bind_leaves_the_one_before(service: Ldap) -> None:
    """RFC 4513 section 4 wants it anonymous: not a connection to relay Binds to."""
    assert service.bind(ALICE, "wrong").code == 49
    assert service.search(PEOPLE).code == 0


# ---- no proxied authorization, no Who am I? --------------------------------------------------------


def test_no_proxied_authorization(service: Ldap) -> None:
    """12, in an answer that is none to a search (ldapsearch waits on); ignored where it is not critical."""
    alice = control(PROXIED_AUTHORIZATION, critical=True, value=f"dn:{ALICE}")
    service.send(search(PEOPLE), [alice])
    assert service.message()[1:] == (EXTENDED_RESPONSE, 12)
    assert service.whoami(alice).code == 12
    ignored = control(PROXIED_AUTHORIZATION, critical=False, value=f"dn:{ALICE}")
    assert service.ask(search(PEOPLE), [ignored]).code == 0


def test_no_who_am_i(service: Ldap) -> None:
    assert service.whoami().code == 2


# ---- what programs search for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("(sAMAccountName=ALICE)", [ALICE]),
        ("(userPrincipalName=alice@example.test)", [ALICE]),
        ("(&(objectCategory=person)(objectClass=user))", [ALICE, BOB]),
        ("(userAccountControl:1.2.840.113556.1.4.803:=2)", []),
        (f"(memberOf={MAIL_USERS})", [ALICE]),
        (f"(memberOf={STAFF})", []),
        (f"(memberOf:{IN_CHAIN}:={STAFF})", [ALICE]),
    ],
)
def test_searches(samba: Samba, wanted: str, found: list[str]) -> None:
    assert names(as_service(samba, "-b", PEOPLE, wanted, "1.1")) == found


def references(client: Ldap, base: str, *controls: bytes) -> int:
    """How many a search of the whole tree ends with."""
    client.send(search(base), controls)
    tags = []
    while not tags or tags[-1] in (SEARCH_ENTRY, SEARCH_REFERENCE):
        tags.append(client.message()[1])
    return tags.count(SEARCH_REFERENCE)


def test_references(service: Ldap) -> None:
    """At the domain's root, unless the client says domain scope; none from an organizational unit."""
    assert references(service, BASE) > 0
    assert references(service, BASE, tlv(0x30, text(DOMAIN_SCOPE), tlv(0x01, b"\xff"))) == 0
    assert references(service, PEOPLE) == 0


def test_pages(samba: Samba) -> None:
    done = as_service(samba, "-b", PEOPLE, "-E", "pr=1/noprompt", "(objectClass=user)", "1.1")
    assert names(done) == [ALICE, BOB]
    assert re.findall(r"cookie=(.*)$", done.seen, re.MULTILINE)[-1] == ""


def test_ranges(samba: Samba) -> None:
    done = as_service(samba, "-b", MAIL_USERS, "-s", "base", "(objectClass=*)", "member;range=0-1499")
    assert f"member;range=0-*: {ALICE}\n" in done.seen


def test_the_global_catalog(samba: Samba) -> None:
    """It takes an empty base, which the domain's own port does not."""
    alice = ["-LLL", "-b", "", "(sAMAccountName=alice)", "mail"]
    catalog = Where(3269, samba.ca, host=samba.address)
    there = tool(catalog, "ldapsearch", *alice, dn=SERVICE, password=SERVICE_PASSWORD)
    assert there == Done(0, f"dn: {ALICE}\nmail: alice@example.test\n\n")
    assert tool(direct(samba), "ldapsearch", *alice, dn=SERVICE, password=SERVICE_PASSWORD).code == 32


@pytest.mark.parametrize(
    ("base", "found"),
    [
        ("<SID=S-1-5-32-544>", f"CN=Administrators,CN=Builtin,{BASE}"),
        (f"<WKGUID=a9d1ca15768811d1aded00c04fd8d5cd,{BASE}>", f"CN=Users,{BASE}"),
    ],
)
def test_bases_that_are_no_names(samba: Samba, base: str, found: str) -> None:
    assert names(as_service(samba, "-b", base, "-s", "base", "1.1")) == [found]


def test_a_search_that_leaves_its_base(service: Ldap) -> None:
    """It answers with what the members of the group are, wherever they are."""
    service.send(search(MAIL_USERS, scope=0), [MEMBERS])
    assert text(ALICE) in service.socket.recv(4096)


def test_an_attribute_by_its_number(samba: Samba) -> None:
    done = as_service(samba, "-b", ALICE, "-s", "base", "(cn=*)", "1.2.840.113556.1.4.221")
    assert done == Done(0, f"dn: {ALICE}\nsAMAccountName: alice\n\n")


def test_idle_connections(samba: Samba) -> None:
    """Closed without a word."""
    policy = "CN=Default Query Policy,CN=Query-Policies,CN=Directory Service,CN=Windows NT,CN=Services"
    limits = f"dn: {policy},CN=Configuration,{BASE}\nchangetype: modify\n"
    usual, short = "lDAPAdminLimits: MaxConnIdleTime=900", "lDAPAdminLimits: MaxConnIdleTime=1"
    samba.ldif("ldapmodify", f"{limits}delete: lDAPAdminLimits\n{usual}\n-\nadd: lDAPAdminLimits\n{short}\n")
    try:
        client = Ldap(direct(samba))
        assert client.bind(ALICE, USERS["alice"]).code == 0
        assert client.socket.recv(1) == b""
    finally:
        samba.ldif("ldapmodify", f"{limits}delete: lDAPAdminLimits\n{short}\n-\nadd: lDAPAdminLimits\n{usual}\n")


# ---- rights ----------------------------------------------------------------------------------------


def test_nobody_reads_a_password(samba: Samba) -> None:
    secrets = ("unicodePwd", "dBCSPwd", "ntPwdHistory", "lmPwdHistory", "supplementalCredentials")
    assert {name.lower().encode() for name in secrets} <= GUARDED
    for dn, password in ((ADMINISTRATOR, ADMINISTRATOR_PASSWORD), (ALICE, USERS["alice"])):
        read = tool(
            direct(samba), "ldapsearch", "-LLL", "-b", ALICE, "-s", "base", "(cn=*)", *secrets, dn=dn, password=password
        )
        assert read == Done(0, f"dn: {ALICE}\n\n")
    present = "".join(f"({name}=*)" for name in secrets)
    assert names(as_service(samba, "-b", BASE, f"(|{present})", "1.1")) == []


def test_what_is_guarded_is_guarded_by_its_number_too(samba: Samba) -> None:
    schema = f"CN=Schema,CN=Configuration,{BASE}"
    done = as_service(samba, "-b", schema, "(objectClass=attributeSchema)", "lDAPDisplayName", "attributeID")
    assert done.code == 0, done.seen
    entries = [dict(re.findall(r"^(\w+): (.*)$", entry, re.MULTILINE)) for entry in done.seen.split("\n\n")]
    numbers = {entry["lDAPDisplayName"].lower(): entry["attributeID"] for entry in entries if "attributeID" in entry}
    guarded = {name: number for name, number in numbers.items() if name.encode() in GUARDED}
    assert {"msds-managedpassword", "mskds-rootkeydata", "altsecurityidentities", "peklist"} <= guarded.keys()
    assert [name for name, number in guarded.items() if number.encode() not in GUARDED] == []
    assert [name for name, number in numbers.items() if number.encode() in GUARDED and name not in guarded] == []


def test_the_service_only_reads(samba: Samba) -> None:
    change = f"dn: {ALICE}\nchangetype: modify\nreplace: description\ndescription: x\n"
    done = tool(direct(samba), "ldapmodify", dn=SERVICE, password=SERVICE_PASSWORD, stdin=change)
    assert done.code == 50, done.seen


def test_anybody_may_guess_at_a_password_by_a_change_of_it(samba: Samba) -> None:
    """The old one is in the request, so no right is needed: a session that may write may guess."""

    def change(old: str) -> Done:
        ldif = (
            f"dn: {ALICE}\nchangetype: modify\ndelete: unicodePwd\nunicodePwd:: {unicode_password(old)}\n-\n"
            f"add: unicodePwd\nunicodePwd:: {unicode_password('short')}\n"
        )
        return tool(direct(samba), "ldapmodify", dn=SERVICE, password=SERVICE_PASSWORD, stdin=ldif)

    wrong, right = change("Wrong-password-1"), change(USERS["alice"])
    assert (wrong.code, right.code) == (19, 19)
    assert "old password specified doesn't match" in wrong.seen
    assert "old password specified doesn't match" not in right.seen


# ---- the peer --------------------------------------------------------------------------------------


def test_it_ends_and_comes_back(samba: Samba) -> None:
    before = samba.server.process.pid
    samba.stop()
    with pytest.raises(OSError):
        Ldap(direct(samba))
    samba.start()
    assert samba.server.process.pid != before
    assert Ldap(direct(samba)).bind(ALICE, USERS["alice"]).code == 0
    wait_until(lambda: f"[{ALICE}]" in samba.log(), "the Bind in its log")
