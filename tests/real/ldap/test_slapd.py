"""slapd does what docs/backends/openldap.md says, without sidegate in between."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.slapd import AUTHZ_TO, PEOPLE, SERVICE, SERVICE_PASSWORD, SERVICES, SETTINGS, USERS, Slapd, person
from tests.real.ldap.client import Done, tool
from tests.real.ldap.conftest import direct, start_slapd
from tests.support.sidegate import Certificates

pytestmark = pytest.mark.real

PAGE = Path(__file__).resolve().parents[3] / "docs" / "backends" / "openldap.md"


def as_service(slapd: Slapd, program: str, authzid: str | None, *arguments: str, stdin: str = "") -> Done:
    extra = [] if authzid is None else ["-e", f"!authzid={authzid}"]
    where = direct(slapd)
    return tool(where, program, *extra, *arguments, dn=SERVICE, password=SERVICE_PASSWORD, stdin=stdin)


def telephone(uid: str) -> str:
    return f"dn: {person(uid)}\nchangetype: modify\nreplace: telephoneNumber\ntelephoneNumber: +1 555 0199\n"


@pytest.mark.parametrize("tls", ["implicit", "starttls", "none"])
def test_listeners(slapd: Slapd, tls: str) -> None:
    done = tool(direct(slapd, tls), "ldapwhoami", dn=person("alice"), password=USERS["alice"])
    assert done == Done(0, f"dn:{person('alice')}\n")


@pytest.mark.parametrize("uid", ["alice", "bob"])
def test_the_service_may_be_anybody_under_people(slapd: Slapd, uid: str) -> None:
    done = as_service(slapd, "ldapwhoami", f"dn:{person(uid)}")
    assert done == Done(0, f"dn:{person(uid)}\n")
    assert f'PROXYAUTHZ dn="{person(uid)}"' in slapd.server.wait_for_log(f'PROXYAUTHZ dn="{person(uid)}"')


def test_the_persons_own_rights_hold(slapd: Slapd) -> None:
    alice = f"dn:{person('alice')}"
    assert as_service(slapd, "ldapmodify", alice, stdin=telephone("alice")).code == 0
    assert as_service(slapd, "ldapmodify", alice, stdin=telephone("bob")).code == 50
    assert as_service(slapd, "ldapmodify", None, stdin=telephone("alice")).code == 50


@pytest.mark.parametrize("dn", [person("ghost"), f"cn=other,{SERVICES}", f"uid=alice,{SERVICES}"])
def test_the_service_may_be_nobody_else(slapd: Slapd, dn: str) -> None:
    assert as_service(slapd, "ldapwhoami", f"dn:{dn}").code == 123


def test_an_empty_identity_is_anonymous(slapd: Slapd) -> None:
    assert as_service(slapd, "ldapwhoami", "") == Done(0, "anonymous\n")


def test_a_person_may_be_nobody_else(slapd: Slapd) -> None:
    done = tool(
        direct(slapd),
        *("ldapwhoami", "-e", f"!authzid=dn:{person('bob')}"),
        dn=person("alice"),
        password=USERS["alice"],
    )
    assert done.code == 123, done.seen


@pytest.fixture
def another(public_root: Path, certificates: Certificates) -> Iterator[Callable[..., Slapd]]:
    """Makes one that is set up otherwise."""
    with ExitStack() as stack:

        def make(**options: str) -> Slapd:
            started = start_slapd(public_root, certificates, **options)
            stack.callback(started.stop)
            return started

        yield make


def test_why_the_uri_form(another: Callable[..., Slapd]) -> None:
    """With a pattern, somebody who does not exist is let be."""
    loose = another(authz_to=f"dn.regex:^uid=[^,]+,{PEOPLE}$")
    ghost = f"dn:{person('ghost')}"
    assert as_service(loose, "ldapwhoami", ghost) == Done(0, f"{ghost}\n")
    assert as_service(loose, "ldapsearch", ghost, "-LLL", "-b", PEOPLE, "(uid=bob)", "1.1").seen.startswith(
        "dn: uid=bob,"
    )


def test_the_pages_cn_config(another: Callable[..., Slapd]) -> None:
    (ldif,) = re.findall(r"^```ldif\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    converted = another(changes=ldif)
    alice = f"dn:{person('alice')}"
    assert as_service(converted, "ldapwhoami", alice) == Done(0, f"{alice}\n")
    assert as_service(converted, "ldapwhoami", f"dn:{person('ghost')}").code == 123
    assert as_service(converted, "ldapmodify", alice, stdin=telephone("alice")).code == 0
    assert as_service(converted, "ldapmodify", alice, stdin=telephone("bob")).code == 50


def test_the_page_has_the_settings_that_are_tried_here() -> None:
    page = PAGE.read_text()
    assert SETTINGS in page
    assert f"authzTo: {AUTHZ_TO}\n" in page
