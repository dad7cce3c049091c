from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from proxy.admin import accounts, app_passwords
from proxy.admin.accounts import Wanted
from proxy.admin.desk import ChatKick, Conflict, Invalid, NotFound
from proxy.domain import app_passwords as secrets
from proxy.domain.model import AppPasswordRecord, LastUse, Protocol
from proxy.store import app_passwords as store
from proxy.store import hashing
from proxy.store.app_passwords import Use
from proxy.store.errors import StoreUnavailable, TagTaken
from tests.admin.office import NOW, OPERATOR, Office


@pytest.fixture(autouse=True)
def alice(office: Office) -> None:
    asyncio.run(accounts.add(office.desk, OPERATOR, Wanted("alice")))


def mint(office: Office, name: str = "phone", account: str = "alice", **more: object) -> app_passwords.CreatedView:
    return asyncio.run(app_passwords.create(office.desk, OPERATOR, account, name, **more))  # type: ignore[arg-type]


def test_what_is_created_is_what_the_contract_says(office: Office) -> None:
    created = mint(office, "Thunderbird", networks=["192.0.2.0/24", "192.0.2.0/24"], expires="90d")
    assert re.fullmatch(r"([a-z]{4}-){4}[a-z]{4}", created.pop("secret"))  # type: ignore[misc]
    assert created == {
        "id": 1,
        "account": "alice@example.org",
        "owner": "alice@example.org",
        "name": "Thunderbird",
        "scopes": ["imap", "smtp"],
        "networks": ["192.0.2.0/24"],
        "created": "2026-09-21T14:13:20.000Z",
        "expires": "2026-12-20T14:13:20.000Z",
        "last_used": None,
        "sessions": 0,
        "revoked": None,
    }
    detail = "id=1 scopes=imap,smtp owner=alice@example.org"
    assert office.events()[-1] == ("app_password_created", "alice@example.org", "Thunderbird", detail)
    assert office.log == ["changed 1"]


def test_the_secret_is_kept_as_a_hash_under_the_newest_pepper(office: Office) -> None:
    letters = secrets.normalize(mint(office)["secret"])
    assert letters is not None
    with office.store.reading() as c:
        (record,) = store.by_tags(c, 1, [(2, secrets.tag(b"new pepper", 1, letters))])
    assert hashing.verify(record.hash.reveal(), letters)
    for file in office.desk.config.state_dir.iterdir():
        assert letters.encode() not in file.read_bytes()


def test_a_taken_tag_is_minted_over(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0
    add = store.add

    def busy(c: Connection, new: store.NewAppPassword) -> object:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise TagTaken("the tag is taken")
        return add(c, new)

    monkeypatch.setattr(store, "add", busy)
    secret = mint(office)["secret"]
    assert tries == 3
    assert secrets.normalize(secret) is not None
    assert [event[0] for event in office.events()] == ["account_added", "app_password_created"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"scopes": ["imap", "pop3"]}, "'pop3' is no scope"),
        ({"networks": ["192.0.2.1/24"]}, "bits set behind the prefix; write 192.0.2.0/24"),
        ({"networks": ["home"]}, "not a network"),
        ({"networks": ["::ffff:192.0.2.0/120"]}, "write it as IPv4"),
        ({"expires": "2020-01-01"}, "in the past"),
        ({"expires": "soon"}, "neither a length of time"),
        ({"owner": "bob"}, "no account 'bob'"),
        ({"name": "two\nlines"}, "printable"),
        ({"name": ""}, "printable"),
    ],
)
def test_what_cannot_be_meant_is_refused(office: Office, more: dict[str, object], says: str) -> None:
    with pytest.raises((Invalid, NotFound), match=says):
        mint(office, **{"name": "phone", **more})  # type: ignore[arg-type]


def test_a_date_and_a_moment_are_taken_as_utc(office: Office) -> None:
    assert mint(office, "a", expires="2027-01-31")["expires"] == "2027-01-31T00:00:00.000Z"
    assert mint(office, "b", expires="2027-01-31T18:00:00+02:00")["expires"] == "2027-01-31T16:00:00.000Z"


def test_policy_bounds_the_age(office: Office) -> None:
    from dataclasses import replace

    config = office.desk.config
    office.desk.config = replace(config, policy=replace(config.policy, app_password_max_age=86400.0))
    assert mint(office)["expires"] == "2026-09-22T14:13:20.000Z"
    with pytest.raises(Invalid, match="1 days at most"):
        mint(office, "laptop", expires="2d")


def test_names_are_unique_among_the_live_ones(office: Office) -> None:
    mint(office)
    with pytest.raises(Conflict, match="has a live app password 'phone' already"):
        mint(office)
    asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["phone"]))
    assert mint(office)["id"] == 2


def test_the_limit_counts_live_ones_and_says_what_to_do(office: Office) -> None:
    from dataclasses import replace

    config = office.desk.config
    office.desk.config = replace(config, policy=replace(config.policy, app_password_limit=2))
    mint(office, "a")
    mint(office, "b")
    with pytest.raises(Conflict, match=r"has 2 app passwords, which is the limit .*revoke one") as refused:
        mint(office, "c")
    assert refused.value.code == "limit"
    asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["a"]))
    mint(office, "c")


def test_a_shared_mailbox_needs_a_member_and_a_service_has_its_owner(office: Office) -> None:
    for name in ("bob", "carol"):
        asyncio.run(accounts.add(office.desk, OPERATOR, Wanted(name)))
    asyncio.run(accounts.add(office.desk, OPERATOR, Wanted("info", "shared")))
    asyncio.run(accounts.add(office.desk, OPERATOR, Wanted("printer", "service", owner="bob")))
    with pytest.raises(Invalid, match="has no members"):
        mint(office, account="info")
    asyncio.run(accounts.add_members(office.desk, OPERATOR, "info", ["alice"]))
    assert mint(office, "one", "info")["owner"] == "alice@example.org"
    asyncio.run(accounts.add_members(office.desk, OPERATOR, "info", ["bob"]))
    with pytest.raises(Invalid, match="for which member"):
        mint(office, "two", "info")
    with pytest.raises(Conflict, match="no member"):
        mint(office, "two", "info", owner="carol")
    assert mint(office, "two", "info", owner="bob")["owner"] == "bob@example.org"
    assert mint(office, "scan", "printer")["owner"] == "bob@example.org"
    with pytest.raises(Invalid, match="belong to bob"):
        mint(office, "scan2", "printer", owner="alice")


def test_revoke_is_durable_then_drops_then_cuts_only_its_own(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    phone, laptop = mint(office, "phone")["id"], mint(office, "laptop")["id"]
    office.connect("p1", phone)
    office.connect("p2", phone)
    office.connect("l1", laptop)
    office.log.clear()
    write = office.threads.write

    async def logged(fn: Callable[..., object], *args: object, urgent: bool = False) -> object:
        result = await write(fn, *args, urgent=urgent)
        office.log.append(f"durable urgent={urgent}")
        return result

    monkeypatch.setattr(office.threads, "write", logged)
    done = asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["phone"]))
    assert done == {"revoked": [phone], "sessions_cut": 2}
    assert office.log == [
        "durable urgent=True",
        "changed 1",
        f"cut app_passwords=[{phone}] accounts=[] sessions=[]",
    ]
    assert [session.id for session in office.sessions] == ["l1"]
    assert office.events()[-1] == ("app_password_revoked", "alice@example.org", "phone", f"id={phone} revoked")


def test_revoke_by_id_by_several_names_and_all(office: Office) -> None:
    ids = [mint(office, name)["id"] for name in ("a", "b", "c", "d")]
    done = asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", [str(ids[0]), "b", "b"]))
    assert done["revoked"] == ids[:2]
    done = asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", [], every=True))
    assert done["revoked"] == ids[2:]
    with pytest.raises(NotFound, match="no live app password"):
        asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", [], every=True))


def test_one_unknown_name_revokes_nothing(office: Office) -> None:
    mint(office)
    with pytest.raises(NotFound, match="no live app password 'tablet'"):
        asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["phone", "tablet"]))
    assert asyncio.run(app_passwords.listing(office.desk, "alice"))[0]["revoked"] is None


def test_a_name_that_is_anothers_id_revokes_neither(office: Office) -> None:
    first = mint(office, "phone")["id"]
    mint(office, str(first))
    with pytest.raises(Conflict, match=rf"'{first}' means .*'phone'"):
        asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", [str(first)]))
    assert asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["phone"]))["revoked"] == [first]


def test_a_store_that_does_not_answer_does_not_keep_sessions_alive(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = mint(office)["id"]
    office.connect("p1", phone)
    office.log.clear()

    async def silent(*args: object, **more: object) -> None:
        raise StoreUnavailable("no answer in 5 s; what was asked may still be done")

    monkeypatch.setattr(office.threads, "write", silent)
    with pytest.raises(StoreUnavailable):
        asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["phone"]))
    assert office.log == ["changed 1", f"cut app_passwords=[{phone}] accounts=[] sessions=[]"]
    assert len(office.sessions) == 0


def test_tombstones_stay_in_the_list_behind_the_live_ones(office: Office) -> None:
    mint(office, "old")
    mint(office, "young")
    asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["old"]))
    views = asyncio.run(app_passwords.listing(office.desk))
    assert [(view["name"], view["revoked"]) for view in views] == [
        ("young", None),
        ("old", "2026-09-21T14:13:20.000Z"),
    ]


def test_last_use_and_sessions_are_shown(office: Office) -> None:
    phone = mint(office)["id"]
    office.connect("p1", phone)
    with office.store.writing() as c:
        store.record_uses(c, [store.Use(phone, LastUse(NOW, "192.0.2.7", Protocol.IMAP, "Thunderbird"))])
    (view,) = asyncio.run(app_passwords.listing(office.desk, "alice"))
    assert view["sessions"] == 1
    assert view["last_used"] == {
        "time": "2026-09-21T14:13:20.000Z",
        "address": "192.0.2.7",
        "protocol": "imap",
        "program": "Thunderbird",
    }


def test_the_unused_are_read_once_and_ended_in_slices(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other writes go between slices, and each slice asks about its own only: one used meanwhile stays."""
    monkeypatch.setattr(app_passwords, "_SLICE", 2)
    ids = [mint(office, f"app{n}")["id"] for n in range(5)]
    office.now += 200 * 86400
    asked: list[list[int] | None] = []
    real = store.unused_since

    def unused_since(c: Connection, when: float, among: list[int] | None = None) -> list[AppPasswordRecord]:
        asked.append(among)
        if among is not None and ids[0] in among:
            store.record_uses(c, [Use(ids[3], LastUse(office.now, "192.0.2.1", Protocol.IMAP, None))])
        return real(c, when, among)

    monkeypatch.setattr(store, "unused_since", unused_since)
    done = asyncio.run(app_passwords.revoke_unused(office.desk, OPERATOR, "180d"))
    assert done == {"revoked": [ids[0], ids[1], ids[2], ids[4]], "sessions_cut": 0}
    assert asked == [None, ids[0:2], ids[2:4], ids[4:5]]


def test_the_unused_are_revoked_and_the_connected_are_not(office: Office) -> None:
    idle, busy = mint(office, "idle")["id"], mint(office, "busy")["id"]
    office.connect("b1", busy)
    office.now += 200 * 86400
    young = mint(office, "young")["id"]
    assert [view["id"] for view in asyncio.run(app_passwords.unused(office.desk, "180d"))] == [idle]
    done = asyncio.run(app_passwords.revoke_unused(office.desk, OPERATOR, "180d"))
    assert done == {"revoked": [idle], "sessions_cut": 0}
    left = [view["id"] for view in asyncio.run(app_passwords.listing(office.desk)) if view["revoked"] is None]
    assert left == [busy, young]
    assert office.events()[-1] == ("app_password_revoked", "alice@example.org", "idle", f"id={idle} unused for 180d")


CHAT = "cn=chat,dc=example,dc=org"


def test_chat_servers_are_told_of_what_could_log_in_there(office: Office) -> None:
    office.services = [CHAT, "cn=other"]
    chat, mail = mint(office, "chat", scopes=["ldap"])["id"], mint(office, "mail")["id"]
    done = asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["mail"]))
    assert done == {"revoked": [mail], "sessions_cut": 0}
    assert office.kicked == []
    done = asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["chat"]))
    row = {"service": CHAT, "users": 1, "problem": None}
    assert done == {"revoked": [chat], "sessions_cut": 0, "chat": [row, {**row, "service": "cn=other"}]}
    assert office.kicked == [({1}, [])]


def test_slices_of_a_bulk_revoke_are_told_together(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_passwords, "_SLICE", 1)
    office.services = [CHAT]
    for name in ("one", "two", "three"):
        mint(office, name, scopes=["ldap"])
    office.now += 200 * 86400
    answers: list[ChatKick] = [
        {"service": CHAT, "users": 1, "problem": None},
        {"service": CHAT, "users": 2, "problem": "away"},
        {"service": CHAT, "users": 4, "problem": None},
    ]

    async def kick(account_ids: object, known: object = ()) -> list[ChatKick]:
        return [answers.pop(0)]

    office.desk.kick = kick
    done = asyncio.run(app_passwords.revoke_unused(office.desk, OPERATOR, "180d"))
    assert done["chat"] == [{"service": CHAT, "users": 7, "problem": "away"}]
