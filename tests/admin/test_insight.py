"""why, auth test, audit, MFA states and sessions."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from proxy.admin import accounts, app_passwords, audit, mfa, refusals, rehearsal, sessions
from proxy.admin.accounts import Wanted
from proxy.admin.desk import Conflict, Invalid, NotFound
from proxy.admin.reasons import WORDS
from proxy.domain.model import MfaState, Protocol
from proxy.domain.secret import Secret
from proxy.domain.verdicts import Reason
from proxy.store import history
from proxy.store.errors import StoreUnavailable
from proxy.store.schema import audit as audit_table
from tests.admin.office import NOW, OPERATOR, Office


@pytest.fixture(autouse=True)
def people(office: Office) -> None:
    for name in ("alice", "bob"):
        asyncio.run(accounts.add(office.desk, OPERATOR, Wanted(name)))
    asyncio.run(accounts.add(office.desk, OPERATOR, Wanted("info", "shared", members=("alice",))))


def mint(office: Office, account: str, name: str, **more: object) -> app_passwords.CreatedView:
    return asyncio.run(app_passwords.create(office.desk, OPERATOR, account, name, **more))  # type: ignore[arg-type]


# ---- reasons, why ----------------------------------------------------------------------------


def test_every_reason_has_its_words() -> None:
    assert set(WORDS) == set(Reason)
    for words in WORDS.values():
        assert words.meaning
        assert words.todo.format(account="alice@example.org")


def test_why_shows_what_another_version_wrote(office: Office) -> None:
    with office.store.writing() as c:
        history.record(c, [history.RefusalRecord(1, NOW, "bad_weather", "telnet", "192.0.2.7/32")])
    (row,) = asyncio.run(refusals.why(office.desk, "alice"))
    assert (row["reason"], row["protocol"]) == ("bad_weather", "telnet")
    assert (row["meaning"], row["todo"]) == ("bad_weather", "This reason was recorded by another version of sidegate.")


def test_why_tells_the_true_reason_newest_first(office: Office) -> None:
    phone = mint(office, "alice", "phone")["id"]
    with office.store.writing() as c:
        history.record(
            c,
            [
                history.RefusalRecord(1, NOW - 60, Reason.NOT_APP_PASSWORD, Protocol.SMTP, "192.0.2.7/32", "laptop"),
                history.RefusalRecord(
                    1, NOW, Reason.REVOKED, Protocol.IMAP, "192.0.2.9/32", None, phone, count=3, first=NOW - 30
                ),
            ],
        )
    first, second = asyncio.run(refusals.why(office.desk, "alice"))
    assert first == {
        "time": "2026-09-21T14:13:20.000Z",
        "first": "2026-09-21T14:12:50.000Z",
        "count": 3,
        "protocol": "imap",
        "network": "192.0.2.9/32",
        "program": None,
        "app_password": "phone",
        "reason": "revoked",
        "meaning": "the app password was revoked; this program still tries it",
        "todo": "Remove the account from that program, or give it a new app password.",
    }
    assert second["todo"].endswith("sidegate passwords create alice@example.org NAME")
    assert asyncio.run(refusals.why(office.desk, "bob")) == []


# ---- auth test -------------------------------------------------------------------------------


def rehearse(office: Office, name: str, secret: str, **more: str) -> rehearsal.Answer:
    return asyncio.run(rehearsal.rehearse(office.desk, name, Secret(secret), **more))


def test_a_right_app_password_would_be_accepted_in_any_spelling(office: Office) -> None:
    secret = mint(office, "alice", "phone")["secret"]
    answer = rehearse(office, "ALICE@example.org", secret.replace("-", " ").upper())
    assert answer["accepted"] is True
    assert (answer["account"], answer["app_password"], answer["reason"]) == ("alice@example.org", "phone", None)
    assert len(office.sessions) == 0


def test_a_directory_wants_its_scope(office: Office) -> None:
    mail = mint(office, "alice", "phone")["secret"]
    directory = mint(office, "alice", "books", scopes=["ldap"])["secret"]
    assert rehearse(office, "alice", mail, protocol="ldap")["reason"] == "wrong_scope"
    assert rehearse(office, "alice", directory, protocol="ldap")["accepted"] is True
    assert rehearse(office, "alice", directory)["reason"] == "wrong_scope"


def test_refusals_tell_the_true_reason_and_what_the_client_sees(office: Office) -> None:
    secret = mint(office, "alice", "phone", scopes=["imap"], networks=["192.0.2.0/24"])["secret"]
    stranger = mint(office, "bob", "phone")["secret"]
    inside = {"address": "192.0.2.7"}
    cases = {
        "not_app_password": rehearse(office, "alice", "my own password"),
        "not_app_password_name": rehearse(office, "al*ice", "my own password"),
        "bad_login_name": rehearse(office, "al*ice", secret),
        "unknown_account": rehearse(office, "nobody", secret),
        "unknown_app_password": rehearse(office, "alice", stranger),
        "wrong_network": rehearse(office, "alice", secret, address="198.51.100.1"),
        "wrong_scope": rehearse(office, "alice", secret, protocol="smtp", **inside),
    }
    asyncio.run(app_passwords.revoke(office.desk, OPERATOR, "alice", ["phone"]))
    cases["revoked"] = rehearse(office, "alice", secret, **inside)
    asyncio.run(accounts.disable(office.desk, OPERATOR, "bob"))
    cases["account_disabled"] = rehearse(office, "bob", stranger)
    assert {reason: answer["reason"] for reason, answer in cases.items()} == {reason: reason for reason in cases}
    assert not any(answer["accepted"] for answer in cases.values())
    assert cases["not_app_password"]["shown"] == "not_app_password"
    assert cases["revoked"]["shown"] == "not_accepted"
    assert cases["revoked"]["app_password"] == "phone"


def test_an_older_pepper_still_verifies(office: Office) -> None:
    peppers = dict(office.desk.peppers)
    office.desk.peppers = {1: peppers[1]}
    secret = mint(office, "alice", "phone")["secret"]
    office.desk.peppers = peppers
    assert rehearse(office, "alice", secret)["accepted"] is True


def test_an_address_that_is_none_is_refused(office: Office) -> None:
    with pytest.raises(Invalid):
        rehearse(office, "alice", "x", address="home")


# ---- MFA states ------------------------------------------------------------------------------


def set_mfa(office: Office, names: list[str] | None, *, dry_run: bool = False) -> mfa.StateSet:
    return asyncio.run(mfa.set_state(office.desk, OPERATOR, MfaState.ENABLED, names, dry_run=dry_run))


def test_every_person_and_nobody_else(office: Office) -> None:
    done = set_mfa(office, None, dry_run=True)
    assert (done["changed"], done["unchanged"]) == (["alice@example.org", "bob@example.org"], 0)
    assert {view["mfa"] for view in asyncio.run(accounts.listing(office.desk))} == {"disabled"}
    set_mfa(office, ["bob"])
    done = set_mfa(office, None)
    assert (done["changed"], done["unchanged"]) == (["alice@example.org"], 1)
    enabled = asyncio.run(accounts.listing(office.desk, mfa=MfaState.ENABLED))
    assert [view["account"] for view in enabled] == ["alice@example.org", "bob@example.org"]
    detail = f"disabled->enabled job={done['job']}"
    assert office.events()[-1] == ("mfa_changed", "alice@example.org", None, detail)


def test_one_wrong_name_changes_nothing_and_all_wrong_ones_are_told(office: Office) -> None:
    with pytest.raises(NotFound, match="nothing was changed: there is no account 'carol', 'dave'"):
        set_mfa(office, ["alice", "carol", "dave"])
    with pytest.raises(Invalid, match=r"not info@example[.]org"):
        set_mfa(office, ["alice", "info"])
    assert {view["mfa"] for view in asyncio.run(accounts.listing(office.desk))} == {"disabled"}


# ---- sessions --------------------------------------------------------------------------------


def test_the_list_has_the_documented_fields(office: Office) -> None:
    phone = mint(office, "alice", "phone")["id"]
    office.connect("s2", phone, started=NOW + 1)
    office.connect("s1", phone)
    first, second = asyncio.run(sessions.listing(office.desk))
    assert first == {
        "id": "s1",
        "account": "alice@example.org",
        "app_password": "phone",
        "protocol": "imap",
        "client": "192.0.2.7:40000",
        "program": "Thunderbird",
        "backend": "10.0.0.5:143",
        "started": "2026-09-21T14:13:20.000Z",
        "bytes_in": 10,
        "bytes_out": 2048,
        "node": "node1",
    }
    assert second["id"] == "s2"
    assert asyncio.run(sessions.listing(office.desk, "bob")) == []


def test_cut_by_account_app_password_and_id(office: Office) -> None:
    phone, laptop = mint(office, "alice", "phone")["id"], mint(office, "alice", "laptop")["id"]
    other = mint(office, "bob", "phone")["id"]
    for session_id, record in (("p1", phone), ("p2", phone), ("l1", laptop), ("b1", other)):
        office.connect(session_id, record)

    def cut(**what: str) -> int:
        return asyncio.run(sessions.cut(office.desk, OPERATOR, **what))

    assert cut(session_id="p1") == 1
    assert office.revoked is False
    with pytest.raises(Conflict, match=r"alice@example.org, bob@example.org .* name the account"):
        cut(app_password="phone")
    assert cut(account="alice", app_password="phone") == 1
    assert office.revoked is False
    assert cut(app_password=str(other)) == 1
    assert cut(account="alice") == 1
    assert office.revoked is False
    for nothing in ({"account": "alice"}, {"session_id": "p1"}, {"app_password": "phone"}):
        with pytest.raises(NotFound, match="no live session"):
            cut(**nothing)
    assert office.events()[-1] == ("sessions_cut", "alice@example.org", "laptop", "sessions=1")
    assert {view["revoked"] for view in asyncio.run(app_passwords.listing(office.desk))} == {None}


def test_a_cut_of_what_means_two_app_passwords_is_refused(office: Office) -> None:
    first = mint(office, "alice", "phone")["id"]
    second = mint(office, "alice", str(first))["id"]
    office.connect("p1", first)
    office.connect("p2", second)
    meant = (
        f"'{first}' means 'phone' \\(id {first}\\) and '{first}' \\(id {second}\\) of alice@example.org: name the one"
    )
    with pytest.raises(Conflict, match=meant):
        asyncio.run(sessions.cut(office.desk, OPERATOR, account="alice", app_password=str(first)))
    assert len(office.sessions) == 2
    assert asyncio.run(sessions.cut(office.desk, OPERATOR, account="alice", app_password="phone")) == 1


def test_no_session_is_cut_without_a_record(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.connect("p1", mint(office, "alice", "phone")["id"])
    monkeypatch.setattr("proxy.store.audit.append", broken := Mock(side_effect=StoreUnavailable("full")))
    with pytest.raises(StoreUnavailable):
        asyncio.run(sessions.cut(office.desk, OPERATOR, account="alice"))
    assert broken.called
    assert len(office.sessions) == 1


# ---- audit -----------------------------------------------------------------------------------


async def _read(office: Office, **more: str) -> list[tuple[str, str | None]]:
    pages = audit.read(office.desk, **more)
    return [(view["event"], view["account"]) async for page in pages for view in page]


def test_audit_is_read_in_order_and_by_account_even_a_removed_one(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE", 2)
    assert asyncio.run(_read(office)) == [
        ("account_added", "alice@example.org"),
        ("account_added", "bob@example.org"),
        ("account_added", "info@example.org"),
    ]
    asyncio.run(accounts.remove(office.desk, OPERATOR, "bob"))
    assert asyncio.run(_read(office, account="bob")) == [
        ("account_added", "bob@example.org"),
        ("account_removed", "bob@example.org"),
    ]
    office.now += 100
    assert asyncio.run(_read(office, since="50s")) == []
    with pytest.raises(Invalid):
        asyncio.run(_read(office, since="yesterday"))


def test_following_begins_now_and_goes_on(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "POLL", 0.01)

    async def follow() -> list[str]:
        pages = audit.follow(office.desk)
        assert await anext(pages) == []
        await accounts.disable(office.desk, OPERATOR, "alice")
        async for page in pages:
            if page:
                return [view["event"] for view in page]
        return []

    assert asyncio.run(follow()) == ["account_disabled"]


def test_verify_finds_what_was_changed(office: Office) -> None:
    assert asyncio.run(audit.verify(office.desk)) == []
    with office.store.writing() as c:
        c.execute(audit_table.update().where(audit_table.c.seq == 2).values(account="mallory@example.org"))
    assert asyncio.run(audit.verify(office.desk)) == ["node node1, record 2: was changed"]
