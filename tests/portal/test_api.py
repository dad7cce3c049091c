"""The API over ASGI: routes, statuses, error bodies, actors. What the use cases do is tested in tests/admin."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.admin.desk import StillOpen
from proxy.portal.api import make_api
from proxy.portal.api.peer import SUDO_HEADER
from proxy.store import accounts
from proxy.store.errors import StoreUnavailable
from tests.admin.office import Office, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with open_office(tmp_path) as opened:
        yield opened


def call(
    office: Office, method: str, path: str, body: object = None, *, peer: str = "uid:1000", **headers: str
) -> tuple[int, Any]:
    async def ask() -> httpx.Response:
        # Errors are answered and then raised again, for the server's log.
        transport = httpx.ASGITransport(make_api(office.desk), client=(peer, 4711), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://sidegate/api/v1") as client:
            content = body if isinstance(body, bytes) else None
            return await client.request(method, path, json=None if content else body, content=content, headers=headers)

    answer = asyncio.run(ask())
    if answer.headers["content-type"] == "application/x-ndjson":
        return answer.status_code, [json.loads(line) for line in answer.text.splitlines() if line]
    return answer.status_code, answer.json()


def add(office: Office, name: str = "alice", **more: object) -> None:
    status, answer = call(office, "POST", "/accounts", {"account": name, **more})
    assert status == 201, answer


def test_status(office: Office) -> None:
    status, answer = call(office, "GET", "/status")
    assert status == 200
    assert answer.keys() == {"version", "node", "config", "sessions"}


def test_an_account_from_beginning_to_end(office: Office) -> None:
    add(office, aliases=["al"])
    assert call(office, "GET", "/accounts/al@example.org")[1]["account"] == "alice@example.org"
    assert call(office, "PATCH", "/accounts/alice", {"enabled": False}) == (
        200,
        {"account": "alice@example.org", "revoked": [], "sessions_cut": 0},
    )
    assert call(office, "PATCH", "/accounts/alice", {"enabled": True})[1]["enabled"] is True
    assert call(office, "PATCH", "/accounts/alice", {"password": "correct horse"})[0] == 200
    assert call(office, "POST", "/mfa", {"state": "enabled", "all": True})[1]["changed"] == ["alice@example.org"]
    assert [row["mfa"] for row in call(office, "GET", "/accounts?mfa=enabled&no_app_passwords=true")[1]] == ["enabled"]
    assert call(office, "DELETE", "/accounts/alice")[0] == 200
    assert call(office, "GET", "/accounts") == (200, [])


def test_app_passwords_and_sessions(office: Office) -> None:
    add(office)
    status, created = call(office, "POST", "/accounts/alice/app-passwords", {"name": "phone"})
    assert (status, created["name"], len(created["secret"])) == (201, "phone", 24)
    office.connect("s1", created["id"])
    (listed,) = call(office, "GET", "/app-passwords?account=alice")[1]
    assert "secret" not in listed
    assert listed["sessions"] == 1
    assert [row["id"] for row in call(office, "GET", "/sessions")[1]] == ["s1"]
    answer = call(office, "POST", "/auth-test", {"login_name": "alice", "secret": created["secret"]})[1]
    assert answer["accepted"] is True
    revoked = call(office, "POST", "/app-passwords/revoke", {"account": "alice", "names": ["phone"]})
    assert revoked == (200, {"revoked": [created["id"]], "sessions_cut": 1})
    assert call(office, "GET", "/accounts/alice/refusals") == (200, [])


def test_an_app_password_is_renamed_and_narrowed(office: Office) -> None:
    add(office)
    created = call(office, "POST", "/accounts/alice/app-passwords", {"name": "phone"})[1]
    named = {"account": "alice", "app_password": "phone"}
    status, renamed = call(office, "POST", "/app-passwords/rename", {**named, "name": "tablet"})
    assert (status, renamed["id"], renamed["name"]) == (200, created["id"], "tablet")
    office.connect("s1", created["id"])
    narrow = {"account": "alice", "app_password": str(created["id"]), "networks": ["192.0.2.0/24"]}
    status, narrowed = call(office, "POST", "/app-passwords/change", narrow)
    assert (status, narrowed.keys(), narrowed["sessions_cut"]) == (200, {"app_password", "sessions_cut"}, 1)
    assert narrowed["app_password"]["networks"] == ["192.0.2.0/24"]


def test_shared_mailboxes_over_the_api(office: Office) -> None:
    add(office)
    add(office, "info", kind="shared")
    status, detail = call(office, "POST", "/accounts/info/members", {"members": ["alice"]})
    assert (status, detail["members"]) == (200, ["alice@example.org"])
    status, closed = call(office, "DELETE", "/accounts/info/members/alice@example.org")
    assert (status, closed) == (200, {"account": "info@example.org", "revoked": [], "sessions_cut": 0})


def test_aliases_over_the_api(office: Office) -> None:
    add(office, aliases=["al"])
    status, detail = call(office, "POST", "/accounts/al/aliases", {"add": ["cn=a/b"], "remove": ["al"]})
    assert (status, detail["login_names"]) == (200, ["alice@example.org", "cn=a/b"])
    status, refused = call(office, "POST", "/accounts/cn%3Da%2Fb/aliases", {"remove": ["alice"]})
    assert (status, refused["error"]["code"]) == (409, "is_address")


def test_a_login_name_may_hold_a_slash_or_a_backslash(office: Office) -> None:
    add(office, aliases=["corp/alice", "CORP\\alice"])
    for name in ("corp%2Falice", "CORP%5Calice"):
        assert call(office, "GET", f"/accounts/{name}")[1]["account"] == "alice@example.org"
        assert call(office, "GET", f"/accounts/{name}/refusals") == (200, [])
        assert call(office, "PATCH", f"/accounts/{name}", {"enabled": True})[0] == 200


def test_audit_is_lines_and_names_the_operator(office: Office) -> None:
    add(office)
    call(office, "PATCH", "/accounts/alice", {"enabled": False}, peer="uid:0", **{SUDO_HEADER: "1000"})
    call(office, "PATCH", "/accounts/alice", {"enabled": True}, peer="uid:1000", **{SUDO_HEADER: "0"})
    call(office, "PATCH", "/accounts/alice", {"enabled": False}, peer="uid:0", **{SUDO_HEADER: "1\t2"})
    status, rows = call(office, "GET", "/audit?account=alice")
    assert status == 200
    assert [row["actor"] for row in rows] == ["operator:1000", "operator:0(sudo:1000)", "operator:1000", "operator:0"]
    assert list(rows[0]) == [
        "time",
        "event",
        "actor",
        "account",
        "app_password",
        "protocol",
        "network",
        "reason",
        "detail",
    ]
    assert call(office, "GET", "/audit/verify") == (200, {"problems": []})


def test_import_tells_every_line(office: Office) -> None:
    status, answer = call(office, "POST", "/accounts/import", {"name": "f.csv", "text": "address\na b\nc d\n"})
    assert (status, answer["error"]["code"]) == (400, "invalid_file")
    assert [line.split(":")[1] for line in answer["error"]["message"].splitlines()] == ["2", "3"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "no_such_resource"),
        ("PUT", "/accounts", {}, 405, "method_not_allowed"),
        ("GET", "/accounts/nobody", None, 404, "not_found"),
        ("GET", "/accounts?mfa=maybe", None, 400, "invalid"),
        ("GET", "/audit?since=yesterday", None, 400, "invalid"),
        ("GET", "/audit?since=yesterday&follow=true", None, 400, "invalid"),
        ("GET", "/app-passwords?unused_for=long", None, 400, "invalid"),
        ("POST", "/accounts", {"account": "a b"}, 400, "invalid"),
        ("POST", "/accounts", {"account": "alice"}, 409, "name_taken"),
        ("POST", "/accounts", {"account": 7}, 400, "invalid"),
        ("POST", "/accounts", {"account": "bob", "colour": "red"}, 400, "invalid"),
        ("POST", "/accounts", b"{", 400, "invalid"),
        ("POST", "/accounts", b"\xff", 400, "invalid"),
        ("PATCH", "/accounts/alice", {}, 400, "invalid"),
        ("PATCH", "/accounts/alice", {"enabled": True, "password": "x" * 9}, 400, "invalid"),
        ("POST", "/mfa", {"state": "enabled"}, 400, "invalid"),
        ("POST", "/mfa", {"state": "maybe", "all": True}, 400, "invalid"),
        ("POST", "/app-passwords/revoke", {"account": "alice"}, 400, "invalid"),
        ("POST", "/app-passwords/revoke", {"account": "alice", "unused_for": "1d"}, 400, "invalid"),
        ("POST", "/app-passwords/revoke", {"account": "alice", "names": ["x"]}, 404, "not_found"),
        ("POST", "/app-passwords/rename", {"account": "alice", "app_password": "x"}, 400, "invalid"),
        ("POST", "/app-passwords/rename", {"account": "alice", "app_password": "x", "name": "y"}, 404, "not_found"),
        ("POST", "/app-passwords/change", {"account": "alice", "app_password": "x"}, 400, "invalid"),
        ("POST", "/app-passwords/change", {"account": "alice", "app_password": "x", "expires": "9d"}, 404, "not_found"),
        ("POST", "/sessions/cut", {}, 400, "invalid"),
        ("POST", "/sessions/cut", {"id": "x", "account": "alice"}, 400, "invalid"),
        ("POST", "/sessions/cut", {"id": "x"}, 404, "not_found"),
        ("POST", "/auth-test", {"login_name": "alice", "secret": "x", "protocol": "ftp"}, 400, "invalid"),
    ],
)
def test_errors_have_a_status_a_code_and_a_sentence(
    office: Office, method: str, path: str, body: object, status: int, code: str
) -> None:
    add(office)
    got, answer = call(office, method, path, body)
    assert (got, answer["error"]["code"]) == (status, code)
    assert answer["error"].keys() == {"code", "message"}
    assert len(answer["error"]["message"]) > 10


def test_an_error_repeats_no_secret(office: Office) -> None:
    body = {"login_name": "alice", "secret": "canary-secret", "protocol": "ftp"}
    status, answer = call(office, "POST", "/auth-test", body)
    assert status == 400
    assert "canary" not in str(answer)


def test_a_body_has_a_limit(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.portal.api.bodies.MAX_BODY", 100)
    status, answer = call(office, "POST", "/accounts", {"account": "a" * 200})
    assert (status, answer["error"]["code"]) == (413, "too_large")


def test_a_store_that_is_away_is_temporary(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*args: object, **more: object) -> None:
        raise StoreUnavailable("sidegate.db: the disk is full")

    monkeypatch.setattr(office.threads, "read", away)
    for path in ("/accounts", "/audit"):
        status, answer = call(office, "GET", path)
        assert (status, answer["error"]) == (503, {"code": "unavailable", "message": "sidegate.db: the disk is full"})


def test_a_cut_that_could_not_be_enforced_is_temporary(office: Office) -> None:
    """The revoke itself holds."""
    call(office, "POST", "/accounts", {"account": "alice"})
    call(office, "POST", "/accounts/alice/app-passwords", {"name": "phone"})

    async def stuck(**selectors: object) -> int:
        raise StillOpen("end process 4711 by hand")

    office.desk.cut = stuck
    status, answer = call(office, "POST", "/app-passwords/revoke", {"account": "alice", "names": ["phone"]})
    assert (status, answer["error"]) == (503, {"code": "still_open", "message": "end process 4711 by hand"})
    _, (phone,) = call(office, "GET", "/app-passwords?account=alice")
    assert phone["revoked"] is not None


def test_a_bug_shows_nothing_of_itself(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(office.threads, "read", broken)
    status, answer = call(office, "GET", "/accounts")
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert "canary" not in str(answer)


def test_a_long_list_is_whole(office: Office) -> None:
    with office.store.writing() as c:
        accounts.add_many(c, [accounts.NewAccount(f"user{n:04}@example.org", 0.0) for n in range(1201)])
    status, rows = call(office, "GET", "/accounts")
    assert status == 200
    assert [row["account"] for row in rows] == [f"user{n:04}@example.org" for n in range(1201)]
