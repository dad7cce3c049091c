"""Account passwords at a real OpenLDAP, with its password policies; Active Directory is in tests/real/samba."""

from __future__ import annotations

import asyncio
import base64
import shutil
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.config.settings import LdapDirectory
from proxy.directory import Checked, ldap
from proxy.directory.ldap import THREADS, Ldap, Unavailable
from proxy.directory.pool import WAITING
from proxy.domain.dn import escaped
from proxy.domain.model import Account, AccountKind, MfaState
from proxy.domain.secret import Secret
from proxy.wire.ldap import grammar
from tests.peers.slapd import BASE, SERVICE, SERVICE_PASSWORD, USERS, Slapd, person
from tests.support.sidegate import Certificates

pytestmark = pytest.mark.real

OPEN = """\
dn: olcDatabase={-1}frontend,cn=config
changetype: modify
replace: olcAccess
olcAccess: {0}to attrs=userPassword by anonymous auth
olcAccess: {1}to * by * read
"""
"""As LDIF: anybody may search."""
PASSWORD = "their-account-password"
CAFE = "caf\u00e9 con leche"


def policy(name: str, *more: str) -> str:
    usual = ("objectClass: device", "objectClass: pwdPolicy", f"cn: {name}", "pwdAttribute: userPassword")
    return "\n".join([f"dn: cn={name},{BASE}", *usual, "pwdMustChange: TRUE", "pwdLockout: TRUE", *more, "", ""])


def entry(uid: str, *more: str, mail: str = "", password: str = PASSWORD) -> str:
    return "\n".join([
        f"dn: {person(escaped(uid))}",
        "objectClass: inetOrgPerson",
        f"uid: {uid}",
        "cn: Somebody",
        "sn: Somebody",
        f"mail: {mail or uid + '@example.org'}",
        f"userPassword:: {base64.b64encode(password.encode()).decode()}",
        *more,
        "",
        "",
    ])  # fmt: skip


LONG_AGO = "pwdChangedTime: 20200101000000Z"
ODD = "odd, name+x"
ENTRIES = "".join([
    policy("usual"),
    policy("strict", "pwdMaxAge: 3600"),
    policy("lenient", "pwdMaxAge: 3600", "pwdGraceAuthNLimit: 50"),
    entry("reset", "pwdReset: TRUE"),
    entry("expired", LONG_AGO, f"pwdPolicySubentry: cn=strict,{BASE}"),
    entry("grace", LONG_AGO, f"pwdPolicySubentry: cn=lenient,{BASE}"),
    entry("locked", "pwdAccountLockedTime: 000001010000Z"),
    entry("twin", mail="twins@example.org"),
    entry("twin2", mail="twins@example.org"),
    entry(ODD, mail="odd@example.org"),
    entry("cafe", password=CAFE),
    f"dn: cn=staff,{BASE}\nobjectClass: groupOfNames\ncn: staff\nmember: {person('alice')}\n",
    f"member: {person(escaped(ODD))}\n\n",
])  # fmt: skip


def account(name: str, **fields: Any) -> Account:
    address = name if "@" in name else f"{name}@example.org"
    usual = Account(1, address, AccountKind.PERSON, True, None, None, MfaState.DISABLED, False, None, 1.0, (address,))
    return replace(usual, **fields)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sidegate-ldap-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def certificates(root: Path) -> Certificates:
    return Certificates(root / "tls")


@pytest.fixture(scope="module")
def slapd(root: Path, certificates: Certificates) -> Iterator[Slapd]:
    files = (certificates.certificate, certificates.key, certificates.ca)
    started = Slapd(root / "slapd", *files, policy=f"cn=usual,{BASE}", more=f"\n{ENTRIES}")
    yield started
    started.stop()


def settings(slapd: Slapd, **fields: Any) -> LdapDirectory:
    usual = LdapDirectory(
        f"ldaps://localhost:{slapd.ldaps_port}",
        base=BASE,
        filter="(mail={account})",
        bind_dn=SERVICE,
        password=Secret(SERVICE_PASSWORD),
        ca=slapd.ca,
    )
    return replace(usual, **fields)


def run(configured: LdapDirectory, test: Callable[[Ldap], Awaitable[None]]) -> None:
    async def main() -> None:
        directory = Ldap(configured)
        try:
            await test(directory)
        finally:
            await directory.close()

    asyncio.run(main())


def check(configured: LdapDirectory, who: Account | None, password: str) -> Checked:
    found: list[Checked] = []

    async def test(directory: Ldap) -> None:
        found.append(await directory.check(who, Secret(password)))

    run(configured, test)
    return found[0]


ALICE = account("alice")


WAYS = {
    "ldaps": {},
    "starttls": {"url": "ldap://localhost:{port}", "starttls": True},
    "plain": {"url": "ldap://127.0.0.1:{port}", "ca": None},
    "template": {"account_dn": "uid={local},ou=people,dc=example,dc=org", "filter": "", "base": "", "bind_dn": ""},
}


@pytest.mark.parametrize("way", WAYS)
def test_right_and_wrong(slapd: Slapd, way: str) -> None:
    fields = {key: value.format(port=slapd.port) if key == "url" else value for key, value in WAYS[way].items()}
    configured = settings(slapd, **fields)
    assert check(configured, ALICE, USERS["alice"]) is Checked.RIGHT
    assert check(configured, ALICE, USERS["bob"]) is Checked.WRONG
    assert check(configured, None, USERS["alice"]) is Checked.WRONG
    assert check(configured, account("nobody"), USERS["alice"]) is Checked.WRONG
    # Who cannot sign in has no right password, whatever the directory says.
    assert check(configured, replace(ALICE, enabled=False), USERS["alice"]) is Checked.WRONG
    assert check(configured, replace(ALICE, kind=AccountKind.SHARED), USERS["alice"]) is Checked.WRONG


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("reset", Checked.MUST_CHANGE, Checked.WRONG),
        ("expired", Checked.MUST_CHANGE, Checked.WRONG),
        ("grace", Checked.MUST_CHANGE, Checked.WRONG),
        ("locked", Checked.WRONG, Checked.WRONG),
        ("twins", Checked.WRONG, Checked.WRONG),  # two entries: nobody's
        ("odd", Checked.RIGHT, Checked.WRONG),
    ],
)
def test_what_the_directory_says_of_an_entry_is_said_after_a_right_password(
    slapd: Slapd, name: str, right: Checked, wrong: Checked
) -> None:
    assert check(settings(slapd), account(name), PASSWORD) is right
    assert check(settings(slapd), account(name), "wrong") is wrong


@pytest.mark.parametrize("password", ["", "\0", USERS["alice"] + "\0", USERS["alice"] + "\0x", "\ud800", "x" * 2000])
def test_what_cannot_be_a_password_is_never_sent(slapd: Slapd, password: str) -> None:
    """An empty one would be an unauthenticated Bind, which servers call a success."""
    before = slapd.log()
    assert check(settings(slapd), ALICE, password) is Checked.WRONG
    assert slapd.log() == before


def test_an_accent_is_one_character_on_all_keyboards(slapd: Slapd) -> None:
    assert check(settings(slapd), account("cafe"), "cafe\u0301 con leche") is Checked.RIGHT


@pytest.mark.parametrize(
    "address",
    [
        "*",
        "alice*",
        "*@example.org",
        "x)(uid=*",
        "alice@example.org)(uid=alice",
        "alice@example.org\0",
        "\\2a",
        "a*)((|uid=*",
    ],
)
def test_a_name_is_a_value_in_a_filter_and_nothing_else(slapd: Slapd, address: str) -> None:
    """The store holds no such names; this does not rely on it."""
    who = replace(ALICE, address=address)
    assert check(settings(slapd), who, USERS["alice"]) is Checked.WRONG
    assert check(settings(slapd, filter="(|(mail={account})(cn={account}))"), who, USERS["alice"]) is Checked.WRONG


@pytest.mark.parametrize("local", ["alice,ou=people", "alice+cn=x", "alice\\2c", "#616c696365", '"alice"', "alice\0"])
def test_a_name_is_a_value_in_a_dn_and_nothing_else(slapd: Slapd, local: str) -> None:
    configured = settings(slapd, account_dn="uid={local},ou=people,dc=example,dc=org", filter="", bind_dn="")
    assert check(configured, replace(ALICE, address=f"{local}@example.org"), USERS["alice"]) is Checked.WRONG
    assert check(configured, replace(ALICE, address=f"{ODD}@example.org"), PASSWORD) is Checked.RIGHT


def test_an_unknown_account_takes_as_long_and_as_many_round_trips(slapd: Slapd) -> None:
    async def test(directory: Ldap) -> None:
        async def taken(who: Account | None) -> float:
            began = time.perf_counter()
            assert await directory.check(who, Secret("wrong one")) is Checked.WRONG
            return time.perf_counter() - began

        both = [(await taken(ALICE), await taken(None)) for _ in range(15)]  # interleaved: a noisy machine hits both
        wrong, nobody = (statistics.median(column) for column in zip(*both, strict=True))
        assert wrong / 2 < nobody < wrong * 2
        await taken(account("unheard-of"))

    before = slapd.log()
    run(settings(slapd), test)
    said = slapd.log().removeprefix(before)
    assert said.count(" BIND dn=") - said.count("mech=SIMPLE") == 2 * 31  # a Bind that works has a second line
    assert said.count(" SRCH base=") == 31


def test_what_is_not_the_persons_fault_is_not_a_wrong_password(
    slapd: Slapd, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = Certificates(root / "others")
    wrong: list[dict[str, Any]] = [
        {"ca": others.ca},
        {"ca": None},
        {"url": f"ldap://localhost:{slapd.port}", "starttls": True, "ca": others.ca},
        {"url": f"ldaps://127.0.0.2:{slapd.ldaps_port}"},  # nothing listens there
        {"url": f"ldaps://localhost:{slapd.port}"},  # no TLS
        {"password": Secret("wrong")},
        {"bind_dn": "cn=nobody," + BASE},
        {"base": "dc=elsewhere"},
        {"bind_dn": "", "password": None},  # nobody in particular may search here
    ]
    for fields in wrong:
        assert check(settings(slapd, **fields), ALICE, USERS["alice"]) is Checked.UNAVAILABLE, fields
        said = capsys.readouterr().err
        assert "account password not checked" in said, fields
        assert USERS["alice"] not in said
        assert SERVICE_PASSWORD not in said


@pytest.mark.parametrize("code", [0, 52])
def test_nothing_is_sent_where_starttls_is_stripped(slapd: Slapd, code: int) -> None:
    """Somebody in between answers StartTLS, and at once what would be asked next: nothing of it is believed."""
    success = [grammar.answer(number, 0x61, 0) for number in (2, 3, 4)]
    seen = bytearray()

    def strip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            seen.extend(client.recv(4096))
            client.sendall(b"".join([grammar.answer(1, 0x78, code), *success]))
            while more := client.recv(4096):
                seen.extend(more)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=strip, args=(listener,))
        thread.start()
        configured = settings(slapd, url=f"ldap://localhost:{listener.getsockname()[1]}", starttls=True)
        assert check(configured, ALICE, USERS["alice"]) is Checked.UNAVAILABLE
        thread.join(20)
    assert grammar.START_TLS in seen
    assert USERS["alice"].encode() not in seen
    assert SERVICE_PASSWORD.encode() not in seen


def test_a_certificate_is_for_the_host_that_was_named(slapd: Slapd, root: Path) -> None:
    """Signed by the right authority, for somebody else."""
    ip = settings(slapd, url=f"ldaps://127.0.0.1:{slapd.ldaps_port}")
    assert check(ip, ALICE, USERS["alice"]) is Checked.RIGHT
    name = socket.gethostname()
    assert name != "localhost"
    with pytest.MonkeyPatch.context() as patch:
        real = socket.getaddrinfo
        patch.setattr(socket, "getaddrinfo", lambda host, *more, **named: real("127.0.0.1", *more, **named))
        for fields in ({}, {"url": f"ldap://ldap.example.org:{slapd.port}", "starttls": True}):
            other = settings(slapd, **{"url": f"ldaps://ldap.example.org:{slapd.ldaps_port}", **fields})
            assert check(other, ALICE, USERS["alice"]) is Checked.UNAVAILABLE


def test_a_search_without_a_service(root: Path, certificates: Certificates) -> None:
    """Where the directory lets nobody in particular search."""
    files = (certificates.certificate, certificates.key, certificates.ca)
    slapd = Slapd(root / "open", *files, changes=OPEN)
    try:
        configured = settings(slapd, bind_dn="", password=None)
        assert check(configured, ALICE, USERS["alice"]) is Checked.RIGHT
        assert check(configured, ALICE, USERS["bob"]) is Checked.WRONG
    finally:
        slapd.stop()


def test_members_of_a_group(slapd: Slapd) -> None:
    everybody = [account(name).address for name in ("alice", "odd", "bob", "nobody")]

    async def test(directory: Ldap) -> None:
        for group in ("staff", "STAFF", f"cn=staff,{BASE}", f"CN=Staff, {BASE.upper()}"):
            assert await directory.members(everybody, group) == everybody[:2]
        for group in ("", "other", "cn=staff", f"cn=staff,ou=x,{BASE}", "person"):
            assert await directory.members(everybody, group) == []

    async def broken(directory: Ldap) -> None:
        with pytest.raises(Unavailable, match="Bind as bind_dn: 49"):
            await directory.members(everybody, "staff")

    run(settings(slapd, group_filter="(member={dn})"), test)
    run(settings(slapd, group_filter="(member={dn})", password=Secret("wrong")), broken)


def test_a_hundred_at_once_have_a_few_connections(slapd: Slapd) -> None:
    async def test(directory: Ldap) -> None:
        most = 0
        jobs = [asyncio.ensure_future(directory.check(ALICE, Secret(USERS["alice"]))) for _ in range(100)]
        while not all(job.done() for job in jobs):
            most = max(most, sum(thread.name.startswith("ldap-directory") for thread in threading.enumerate()))
            await asyncio.sleep(0.01)
        results = [job.result() for job in jobs]
        assert results.count(Checked.RIGHT) == WAITING
        assert results.count(Checked.UNAVAILABLE) == 100 - WAITING
        assert 0 < most <= THREADS
        assert await directory.check(ALICE, Secret(USERS["alice"])) is Checked.RIGHT

    run(settings(slapd), test)


def test_one_that_is_closed_says_that_it_is_not_the_passwords_fault(slapd: Slapd) -> None:
    """A reload has put another in its place while a page still asks this one."""

    async def test(directory: Ldap) -> None:
        await directory.close()
        assert await directory.check(ALICE, Secret(USERS["alice"])) is Checked.UNAVAILABLE

    run(settings(slapd), test)


def test_a_directory_that_stands_still_or_is_gone(slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap, "RECEIVE_WITHIN", 1)
    monkeypatch.setattr(ldap, "ANSWER_WITHIN", 2.0)

    async def test(directory: Ldap) -> None:
        slapd.server.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            jobs = [directory.check(ALICE, Secret(USERS["alice"])) for _ in range(40)]
            assert set(await asyncio.gather(*jobs)) == {Checked.UNAVAILABLE}
            assert time.monotonic() - began < 20
        finally:
            slapd.server.process.send_signal(signal.SIGCONT)
        assert await directory.check(ALICE, Secret(USERS["alice"])) is Checked.RIGHT
        slapd.stop()
        try:
            assert await directory.check(ALICE, Secret(USERS["alice"])) is Checked.UNAVAILABLE
        finally:
            slapd.start()
        assert await directory.check(ALICE, Secret(USERS["alice"])) is Checked.RIGHT

    run(settings(slapd), test)
