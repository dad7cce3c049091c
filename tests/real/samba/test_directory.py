"""Account passwords at Active Directory (proxy/directory/ldap.py)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.config.settings import LdapDirectory
from proxy.directory import Checked
from proxy.directory.ldap import Ldap
from proxy.domain.secret import Secret
from tests.directory.test_ldap import account, check, run
from tests.peers.samba import BASE, BOB, MAIL_USERS, PEOPLE, SERVICE, SERVICE_PASSWORD, STAFF, USERS, Samba, user

pytestmark = pytest.mark.real

PASSWORD = "Their-account-password-1"
OF = {"fresh": "pwdLastSet: 0", "off": "userAccountControl: 514"}


@pytest.fixture
def directory(samba: Samba) -> LdapDirectory:
    return LdapDirectory(
        f"ldaps://{samba.address}",
        base=BASE,
        filter="(&(objectClass=user)(userPrincipalName={account}))",
        bind_dn=SERVICE,
        password=Secret(SERVICE_PASSWORD),
        ca=samba.ca,
    )


def test_right_and_wrong(directory: LdapDirectory) -> None:
    for configured in (
        directory,
        replace(directory, url=directory.url.replace("ldaps", "ldap"), starttls=True),
    ):
        assert check(configured, account("alice@example.test"), USERS["alice"]) is Checked.RIGHT
        assert check(configured, account("bob@example.test"), USERS["bob"]) is Checked.RIGHT, BOB
        assert check(configured, account("bob@example.test"), USERS["alice"]) is Checked.WRONG
        assert check(configured, account("nobody@example.test"), USERS["alice"]) is Checked.WRONG
        assert check(configured, None, USERS["alice"]) is Checked.WRONG


def test_what_is_said_of_an_account_is_said_after_a_right_password(samba: Samba, directory: LdapDirectory) -> None:
    samba.ldif("ldapadd", "".join(user(f"CN={name},{PEOPLE}", name, PASSWORD) for name in OF))
    change = "dn: CN={0},{1}\nchangetype: modify\nreplace: {2}\n{2}: {3}\n\n"
    samba.ldif("ldapmodify", "".join(change.format(name, PEOPLE, *line.split(": ")) for name, line in OF.items()))
    expected = {"fresh": Checked.MUST_CHANGE, "off": Checked.WRONG}
    for name, right in expected.items():
        assert check(directory, account(f"{name}@example.test"), PASSWORD) is right, name
        assert check(directory, account(f"{name}@example.test"), "Wrong-password-1") is Checked.WRONG, name


def test_groups_and_groups_in_groups(directory: LdapDirectory) -> None:
    alice, *others = ("alice@example.test", "bob@example.test", "nobody@example.test")

    async def direct(opened: Ldap) -> None:
        assert await opened.members([alice, *others], "mail users") == [alice]
        assert await opened.members([alice, *others], STAFF) == []

    async def nested(opened: Ldap) -> None:
        assert await opened.members([alice, *others], MAIL_USERS) == [alice]
        assert await opened.members([alice, *others], STAFF) == [alice]

    run(directory, direct)
    run(replace(directory, group_filter="(member:1.2.840.113556.1.4.1941:={dn})"), nested)
