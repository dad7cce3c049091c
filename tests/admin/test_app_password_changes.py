from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.admin import accounts, app_password_changes, app_passwords, sessions
from proxy.admin.accounts import Wanted
from proxy.admin.app_password_changes import Narrowed
from proxy.admin.desk import Conflict, Invalid, NotFound
from proxy.admin.views import AppPasswordView
from proxy.store import app_passwords as store
from proxy.store.errors import StoreUnavailable
from tests.admin.office import OPERATOR, Office

CHAT = "cn=chat,dc=example,dc=org"


@pytest.fixture(autouse=True)
def alice(office: Office) -> None:
    asyncio.run(accounts.add(office.desk, OPERATOR, Wanted("alice")))


def mint(office: Office, name: str = "phone", **more: object) -> int:
    made = asyncio.run(app_passwords.create(office.desk, OPERATOR, "alice", name, **more))  # type: ignore[arg-type]
    return made["id"]


def rename(office: Office, app_password: str, name: str) -> AppPasswordView:
    return asyncio.run(app_password_changes.rename(office.desk, OPERATOR, "alice", app_password, name))


def narrow(office: Office, app_password: str = "phone", **to: object) -> Narrowed:
    return asyncio.run(app_password_changes.narrow(office.desk, OPERATOR, "alice", app_password, **to))  # type: ignore[arg-type]


def generation(office: Office, app_password_id: int) -> int:
    with office.store.reading() as c:
        record = store.by_id(c, app_password_id)
    assert record is not None
    return record.generation


def test_a_rename_leaves_sessions_alone_and_shows_on_them(office: Office) -> None:
    phone, laptop = mint(office), mint(office, "laptop")
    office.connect("p1", phone)
    office.connect("l1", laptop)
    office.log.clear()
    view = rename(office, "phone", "Grandma's tablet")
    assert (view["id"], view["name"], view["sessions"]) == (phone, "Grandma's tablet", 1)
    assert office.log == ["changed 1"]
    detail = f"id={phone} renamed from 'phone'"
    assert office.events()[-1] == ("app_password_changed", "alice@example.org", "Grandma's tablet", detail)
    listed = asyncio.run(sessions.listing(office.desk, "alice"))
    assert {row["id"]: row["app_password"] for row in listed} == {"p1": "Grandma's tablet", "l1": "laptop"}
    assert asyncio.run(sessions.cut(office.desk, OPERATOR, app_password="Grandma's tablet")) == 1
    assert generation(office, phone) == 1


def test_a_name_is_unique_among_the_live_ones_and_may_be_one_that_was(office: Office) -> None:
    phone = mint(office)
    mint(office, "laptop")
    with pytest.raises(Conflict, match="has a live app password 'laptop' already") as refused:
        rename(office, str(phone), "laptop")
    assert refused.value.code == "name_taken"
    assert asyncio.run(app_passwords.listing(office.desk, "alice"))[1]["name"] == "phone"
    asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["laptop"]))
    assert rename(office, str(phone), "laptop")["name"] == "laptop"


def test_the_name_that_it_has_changes_nothing(office: Office) -> None:
    mint(office)
    before = office.events()
    assert rename(office, "phone", "phone")["name"] == "phone"
    assert office.events() == before


def test_only_live_ones_are_changed_and_names_are_checked(office: Office) -> None:
    mint(office)
    with pytest.raises(Invalid, match="printable"):
        rename(office, "phone", "two\nlines")
    asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["phone"]))
    for change in (lambda: rename(office, "phone", "tablet"), lambda: narrow(office, scopes=["imap"])):
        with pytest.raises(NotFound, match="no live app password 'phone'"):
            change()


def test_a_narrowed_scope_is_durable_then_drops_then_cuts_only_its_own(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, laptop = mint(office), mint(office, "laptop")
    for session, app_password in (("p1", phone), ("p2", phone), ("l1", laptop)):
        office.connect(session, app_password)
    office.log.clear()
    write = office.threads.write

    async def logged(fn: Callable[..., object], *args: object, urgent: bool = False) -> object:
        result = await write(fn, *args, urgent=urgent)
        office.log.append(f"durable urgent={urgent}")
        return result

    monkeypatch.setattr(office.threads, "write", logged)
    done = narrow(office, scopes=["smtp"])
    assert done["sessions_cut"] == 2
    assert done["app_password"]["scopes"] == ["smtp"]
    cut = f"cut app_passwords=[{phone}] accounts=[] sessions=[]"
    assert office.log[:3] == ["durable urgent=True", "changed 1", cut]
    assert office.revoked is False, "a login in flight is told to try again: it may still be let in"
    assert [session.id for session in office.sessions] == ["l1"]
    assert generation(office, phone) == 2
    detail = f"id={phone} scopes=smtp"
    assert office.events()[-1] == ("app_password_changed", "alice@example.org", "phone", detail)


def test_networks_become_smaller_and_sessions_are_cut(office: Office) -> None:
    phone = mint(office)
    office.connect("p1", phone)
    assert narrow(office, networks=["192.0.2.0/24", "2001:db8::/64"])["sessions_cut"] == 1
    office.connect("p2", phone)
    done = narrow(office, networks=["192.0.2.0/25", "2001:db8::/64"])
    assert (done["sessions_cut"], done["app_password"]["networks"]) == (1, ["192.0.2.0/25", "2001:db8::/64"])
    assert generation(office, phone) == 3


def test_an_earlier_end_is_remembered_by_nobody_and_cuts_nobody(office: Office) -> None:
    phone = mint(office, expires="90d")
    office.connect("p1", phone)
    office.log.clear()
    done = narrow(office, expires="30d")
    assert (done["sessions_cut"], done["app_password"]["expires"]) == (0, "2026-10-21T14:13:20.000Z")
    assert "changed 1" in office.log
    assert (len(office.sessions), generation(office, phone)) == (1, 1)
    assert office.events()[-1][3] == f"id={phone} expires=2026-10-21T14:13:20.000Z"


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ({"scopes": ["imap", "ldap"]}, "'phone' was not made for ldap: its scopes can only become less; create a new"),
        ({"networks": ["192.0.2.0/24", "198.51.100.0/24"]}, "not made for 198.51.100.0/24: its networks"),
        ({"networks": ["192.0.0.0/16"]}, "not made for 192.0.0.0/16"),
        ({"expires": "91d"}, "not made for 2026-12-21T14:13:20.000Z: its time"),
        ({"scopes": ["imap"], "expires": "91d"}, "its time"),
    ],
)
def test_what_is_wider_is_refused_whole(office: Office, to: dict[str, object], says: str) -> None:
    phone = mint(office, networks=["192.0.2.0/24"], expires="90d")
    office.connect("p1", phone)
    with pytest.raises(Conflict, match=says) as refused:
        narrow(office, **to)
    assert refused.value.code == "wider"
    (view,) = asyncio.run(app_passwords.listing(office.desk, "alice"))
    assert (view["scopes"], view["networks"], view["sessions"]) == (["imap", "smtp"], ["192.0.2.0/24"], 1)
    assert view["expires"] == "2026-12-20T14:13:20.000Z"


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ({}, "say what it shall be good for"),
        ({"scopes": ["pop3"]}, "'pop3' is no scope"),
        ({"networks": ["home"]}, "not a network"),
        ({"expires": "2020-01-01"}, "in the past"),
    ],
)
def test_what_cannot_be_meant_is_refused(office: Office, to: dict[str, object], says: str) -> None:
    mint(office)
    with pytest.raises(Invalid, match=says):
        narrow(office, **to)


def test_what_it_is_already_changes_nothing(office: Office) -> None:
    phone = mint(office, networks=["192.0.2.0/24", "2001:db8::/64"], expires="2027-01-01")
    office.connect("p1", phone)
    before = office.events()
    same = narrow(office, scopes=["smtp", "imap"], networks=["2001:db8::/64", "192.0.2.0/24"], expires="2027-01-01")
    assert (same["sessions_cut"], len(office.sessions), office.events()) == (0, 1, before)


def test_chat_servers_are_told_when_it_could_log_in_there(office: Office) -> None:
    office.services = [CHAT]
    mint(office, "mail")
    mint(office, "both", scopes=["imap", "ldap"])
    assert "chat" not in narrow(office, "mail", scopes=["imap"])
    assert narrow(office, "both", scopes=["imap"]).get("chat") == [{"service": CHAT, "users": 1, "problem": None}]


def test_a_store_that_does_not_answer_does_not_keep_sessions_alive(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = mint(office)
    office.connect("p1", phone)

    async def silent(*args: object, **more: object) -> None:
        raise StoreUnavailable("no answer in 5 s; what was asked may still be done")

    monkeypatch.setattr(office.threads, "write", silent)
    with pytest.raises(StoreUnavailable):
        narrow(office, scopes=["imap"])
    assert len(office.sessions) == 0
