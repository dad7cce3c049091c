"""What the portal may ask in the name of a person: each route of the API, by each kind of actor."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Mount, Route

from proxy.domain.factor_kinds import FactorKind
from proxy.portal.api import make_api
from proxy.portal.api.peer import PERSON_HEADER
from proxy.store import accounts, factors, people
from proxy.store.factors import NewFactor
from tests.admin.office import NOW, Office, open_office
from tests.portal.test_api import call

ALICE, BOB, INFO, PRINTER, SALES = 1, 2, 3, 4, 5
BODIES: dict[tuple[str, str], object] = {
    ("POST", "/accounts"): {"account": "carol"},
    ("POST", "/accounts/import"): {"name": "f.csv", "text": "address\ncarol\n"},
    ("PATCH", "/accounts/{account:path}"): {"enabled": True},
    ("POST", "/accounts/{account:path}/members"): {"members": ["bob"]},
    ("POST", "/accounts/{account:path}/enrolment-code"): {},
    ("POST", "/accounts/{account:path}/password-link"): {},
    ("POST", "/accounts/{account:path}/bypass"): {"minutes": 5},
    ("POST", "/mfa"): {"state": "enabled", "all": True},
    ("POST", "/auth-test"): {"login_name": "alice", "secret": "x"},
    ("POST", "/accounts/{account:path}/app-passwords"): {"name": "new"},
    ("POST", "/app-passwords/revoke"): {"account": "alice", "names": ["1"]},
    ("POST", "/app-passwords/rename"): {"account": "alice", "app_password": "phone", "name": "telephone"},
    ("POST", "/app-passwords/change"): {"account": "alice", "app_password": "phone", "scopes": ["imap"]},
    ("POST", "/sessions/cut"): {"account": "info"},
}
OF_PERSONS = {
    ("GET", "/app-passwords"),
    ("POST", "/accounts/{account:path}/app-passwords"),
    ("POST", "/app-passwords/revoke"),
    ("POST", "/app-passwords/rename"),
    ("POST", "/app-passwords/change"),
    ("GET", "/sessions"),
    ("POST", "/sessions/cut"),
    ("POST", "/mfa/enrolled"),
}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """alice and bob, both members of info; a printer that alice answers for, and sales, where only bob is a member.
    Each of these has an app password `phone` (in info one of alice, one of bob), and somebody connected with it."""
    with open_office(tmp_path) as opened:
        for name, more in (
            ("alice", {"aliases": ["al"]}),
            ("bob", {}),
            ("info", {"kind": "shared", "members": ["alice", "bob"]}),
            ("printer", {"kind": "service", "owner": "alice"}),
            ("sales", {"kind": "shared", "members": ["bob"]}),
        ):
            assert call(opened, "POST", "/accounts", {"account": name, **more})[0] == 201
        for number, (account, name, owner) in enumerate(
            (
                ("alice", "phone", None),
                ("bob", "phone", None),
                ("info", "phone", "alice"),
                ("info", "bob's", "bob"),
                ("printer", "phone", None),
                ("sales", "phone", "bob"),
            ),
            1,
        ):
            body = {"name": name, "owner": owner}
            assert call(opened, "POST", f"/accounts/{account}/app-passwords", body)[1]["id"] == number
            opened.connect(f"s{number}", number)
        with opened.store.writing() as c:
            factors.add(c, ALICE, NewFactor(FactorKind.TOTP, "phone"), NOW)
        yield opened


def as_person(office: Office, account_id: object, method: str, path: str, body: object = None) -> tuple[int, Any]:
    return call(office, method, path, body, **{PERSON_HEADER: str(account_id)})


def routes(office: Office) -> set[tuple[str, str]]:
    (mount,) = make_api(office.desk).routes
    assert isinstance(mount, Mount)
    return {
        (method, route.path)
        for route in mount.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }


def filled(path: str) -> str:
    return path.replace("{account:path}", "alice").replace("{member:path}", "bob")


def test_a_person_may_call_these_routes_and_no_others(office: Office) -> None:
    every = routes(office)
    assert every > OF_PERSONS
    for method, path in sorted(every):
        status, answer = as_person(office, ALICE, method, filled(path), BODIES.get((method, path)))
        if (method, path) in OF_PERSONS:
            assert status in (200, 201), (method, path, answer)
        else:
            assert (status, answer["error"]["code"]) == (403, "forbidden"), (method, path)
    with office.store.reading() as c:
        assert accounts.by_login_name(c, "carol@example.org") is None


def test_an_operator_may_call_every_route_but_that_of_persons(office: Office) -> None:
    for method, path in sorted(routes(office)):
        status, _ = call(office, method, filled(path), BODIES.get((method, path)))
        assert (status == 403) == (path == "/mfa/enrolled"), (method, path, status)


@pytest.mark.parametrize("who", ["", "0", "-1", "1.0", "alice", "١", "1, 2", "9" * 30])
def test_a_header_that_names_nobody_is_no_operator(office: Office, who: str) -> None:
    headers = {PERSON_HEADER: who.encode()} if not who.isascii() else {PERSON_HEADER: who}
    assert call(office, "GET", "/accounts", **headers)[0] in (400, 403)  # type: ignore[arg-type]


def test_the_portals_own_user_is_no_operator(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every route, without the header and with it: a portal that is broken into administers nothing."""
    office.desk.config = replace(office.desk.config, portal=replace(office.desk.config.portal, user="nobody"))
    portal = f"uid:{pwd.getpwnam('nobody').pw_uid}"
    for method, path in sorted(routes(office)):
        body = BODIES.get((method, path))
        status, answer = call(office, method, filled(path), body, peer=portal)
        assert (status, answer["error"]["code"]) == (403, "forbidden"), (method, path)
        status, _ = call(office, method, filled(path), body, peer=portal, **{PERSON_HEADER: str(ALICE)})
        assert (status in (200, 201)) == ((method, path) in OF_PERSONS), (method, path)
    assert call(office, "GET", "/accounts")[0] == 200
    # All under one user, as in small sites: who runs the core administers it.
    monkeypatch.setattr("os.geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    assert call(office, "GET", "/accounts", peer=portal)[0] == 200


@pytest.mark.parametrize("who", [INFO, PRINTER, 99])
def test_only_a_person_that_is_there_is_a_person(office: Office, who: int) -> None:
    assert as_person(office, who, "GET", "/app-passwords")[0] == 403


def test_a_disabled_person_may_do_nothing(office: Office) -> None:
    call(office, "PATCH", "/accounts/alice", {"enabled": False})
    assert as_person(office, ALICE, "GET", "/app-passwords")[0] == 403


def test_what_a_person_sees(office: Office) -> None:
    def seen(who: int, query: str = "") -> list[int]:
        return [row["id"] for row in as_person(office, who, "GET", f"/app-passwords{query}")[1]]

    assert sorted(seen(ALICE)) == [1, 3]
    assert sorted(seen(BOB)) == [2, 4, 6]
    assert seen(ALICE, "?account=info") == [3]
    assert seen(ALICE, "?account=al") == [1]
    assert [row["id"] for row in as_person(office, ALICE, "GET", "/sessions")[1]] == ["s1", "s3"]
    assert [row["id"] for row in as_person(office, ALICE, "GET", "/sessions?account=bob")[1]] == ["s1", "s3"]


@pytest.mark.parametrize("account", ["bob", "printer", "sales", "nobody", "a b"])
def test_what_is_not_theirs_is_not_even_there(office: Office, account: str) -> None:
    tries: list[tuple[str, str, object]] = [
        ("GET", f"/app-passwords?account={account}", None),
        ("POST", f"/accounts/{account}/app-passwords", {"name": "mine"}),
        ("POST", "/app-passwords/revoke", {"account": account, "names": ["phone"]}),
        ("POST", "/app-passwords/revoke", {"account": account, "all": True}),
        ("POST", "/app-passwords/rename", {"account": account, "app_password": "phone", "name": "x"}),
        ("POST", "/app-passwords/change", {"account": account, "app_password": "phone", "scopes": ["imap"]}),
        ("POST", "/sessions/cut", {"account": account}),
    ]
    answers = {str(as_person(office, ALICE, *one)) for one in tries}
    assert len(answers) == 1
    assert "forbidden" in answers.pop()
    assert len(list(office.sessions)) == 6


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/app-passwords/revoke", {"account": "info", "names": ["bob's"]}),
        ("/app-passwords/revoke", {"account": "info", "names": ["4"]}),
        ("/app-passwords/revoke", {"account": "alice", "names": ["2"]}),
        ("/app-passwords/rename", {"account": "info", "app_password": "4", "name": "x"}),
        ("/app-passwords/change", {"account": "info", "app_password": "4", "scopes": ["imap"]}),
        ("/sessions/cut", {"id": "s4"}),
        ("/sessions/cut", {"id": "s5"}),
        ("/sessions/cut", {"app_password": "bob's"}),
    ],
)
def test_what_others_minted_for_a_shared_mailbox_is_not_found(office: Office, path: str, body: object) -> None:
    assert as_person(office, ALICE, "POST", path, body)[0] == 404
    assert len(list(office.sessions)) == 6


def test_a_person_revokes_their_own_and_cuts_their_own(office: Office) -> None:
    status, done = as_person(office, ALICE, "POST", "/app-passwords/revoke", {"account": "info", "all": True})
    assert (status, done) == (200, {"revoked": [3], "sessions_cut": 1})
    assert as_person(office, ALICE, "POST", "/sessions/cut", {"account": "alice"}) == (200, {"sessions_cut": 1})
    assert as_person(office, BOB, "POST", "/sessions/cut", {"account": "info"}) == (200, {"sessions_cut": 1})
    assert as_person(office, BOB, "POST", "/sessions/cut", {"app_password": "6"}) == (200, {"sessions_cut": 1})
    assert as_person(office, BOB, "POST", "/sessions/cut", {"id": "s2"}) == (200, {"sessions_cut": 1})
    assert [session.id for session in office.sessions] == ["s5"]


@pytest.mark.parametrize("query", ["?unused_for=90d", "?unused_for=90d&account=alice"])
def test_what_is_about_everybody_is_not_for_a_person(office: Office, query: str) -> None:
    assert as_person(office, ALICE, "GET", f"/app-passwords{query}")[0] == 403
    assert as_person(office, ALICE, "POST", "/app-passwords/revoke", {"unused_for": "90d"})[0] == 403


def test_a_person_mints_for_themselves(office: Office) -> None:
    status, made = as_person(office, ALICE, "POST", "/accounts/info/app-passwords", {"name": "tablet"})
    assert (status, made["account"], made["owner"]) == (201, "info@example.org", "alice@example.org")
    body = {"name": "tv", "owner": "al"}
    assert as_person(office, ALICE, "POST", "/accounts/alice/app-passwords", body)[0] == 201
    body = {"name": "loot", "owner": "bob"}
    assert as_person(office, ALICE, "POST", "/accounts/info/app-passwords", body)[0] == 403


def test_the_audit_names_the_person(office: Office) -> None:
    as_person(office, ALICE, "POST", "/accounts/alice/app-passwords", {"name": "tablet"})
    rows = call(office, "GET", "/audit?account=alice")[1]
    assert rows[-1]["actor"] == "person:alice@example.org"


def test_after_a_reset_nothing_is_minted_for_a_while(office: Office) -> None:
    with office.store.writing() as c:
        people.change(c, ALICE, mint_after=NOW + 60)
    status, answer = as_person(office, ALICE, "POST", "/accounts/alice/app-passwords", {"name": "tablet"})
    assert (status, answer["error"]["code"]) == (409, "wait")
    office.now += 60
    assert as_person(office, ALICE, "POST", "/accounts/alice/app-passwords", {"name": "tablet"})[0] == 201


def test_a_person_can_only_become_enforced_and_only_with_a_factor(office: Office) -> None:
    def state(account: str) -> str:
        return str(call(office, "GET", f"/accounts/{account}")[1]["mfa"])

    assert as_person(office, ALICE, "POST", "/mfa/enrolled") == (200, {"state": "disabled"})
    call(office, "POST", "/mfa", {"state": "enabled", "accounts": ["alice", "bob"]})
    office.log.clear()
    assert as_person(office, ALICE, "POST", "/mfa/enrolled") == (200, {"state": "enforced"})
    assert office.log == ["changed 1"]
    status, answer = as_person(office, BOB, "POST", "/mfa/enrolled")
    assert (status, answer["error"]["code"]) == (409, "no_factor")
    assert (state("alice"), state("bob")) == ("enforced", "enabled")
    last = call(office, "GET", "/audit?account=alice")[1][-1]
    assert (last["event"], last["detail"], last["actor"]) == (
        "mfa_changed",
        "enabled->enforced",
        "person:alice@example.org",
    )


def test_who_is_no_member_any_more_mints_no_more(office: Office) -> None:
    call(office, "DELETE", "/accounts/info/members/alice")
    assert as_person(office, ALICE, "POST", "/accounts/info/app-passwords", {"name": "x"})[0] == 403
    assert [row["id"] for row in as_person(office, ALICE, "GET", "/app-passwords")[1]] == [1]
