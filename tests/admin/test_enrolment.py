"""What an operator does to let a person in, and back in."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from proxy.admin import accounts, enrolment, mfa
from proxy.admin.accounts import Wanted
from proxy.admin.desk import Conflict, Invalid, NotFound
from proxy.admin.views import stamp
from proxy.config.settings import LdapDirectory
from proxy.domain import enrolment_codes, tokens
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import MfaState
from proxy.domain.secret import Secret
from proxy.domain.sign_in import MINT_WAIT, Outcome, Stage
from proxy.store import accounts as account_store
from proxy.store import challenges, codes, devices, factors, links, people, portal_sessions, sign_ins
from proxy.store.challenges import Challenge
from proxy.store.factors import NewFactor
from proxy.store.links import Purpose
from proxy.store.portal_sessions import PortalSession
from proxy.store.sign_ins import SignIn
from tests.admin.office import NOW, OPERATOR, Office

DAY = 86400.0
ALICE = 1


@pytest.fixture
def alice(office: Office) -> Office:
    asyncio.run(accounts.add(office.desk, OPERATOR, Wanted("alice")))
    return office


def enrolled(office: Office, state: MfaState = MfaState.ENFORCED) -> None:
    """Alice with everything that she has after a while."""
    asyncio.run(mfa.set_state(office.desk, OPERATOR, state, ["alice"]))
    with office.store.writing() as c:
        factors.add(c, ALICE, NewFactor(FactorKind.TOTP, "phone", sealed=b"x"), NOW)
        key = factors.add(c, ALICE, NewFactor(FactorKind.PASSKEY, "key"), NOW)
        assert key is not None
        codes.set_recovery(c, ALICE, [b"one"])
        device = devices.add(c, ALICE, b"device", "Firefox", NOW, "192.0.2.7")
        portal_sessions.add(
            c,
            PortalSession(b"t", ALICE, Stage.IN, NOW, NOW, NOW + 999, NOW, NOW, device.id, "192.0.2.7", "Firefox"),
        )
        challenges.add(c, Challenge(b"c", ALICE, b"t", FactorKind.SMS, None, NOW, NOW + 60))
        people.change(c, ALICE, bypass_until=NOW + 60)


def test_an_enrolment_code_is_shown_once_and_kept_as_a_hash(alice: Office) -> None:
    issued = asyncio.run(enrolment.issue_code(alice.desk, OPERATOR, "alice"))
    assert re.fullmatch("([a-z]{5}-){3}[a-z]{5}", issued["code"])
    assert (issued["account"], issued["expires"]) == ("alice@example.org", stamp(NOW + 7 * DAY))
    letters = enrolment_codes.normalize(issued["code"])
    assert letters is not None
    with alice.store.writing() as c:
        kept = c.exec_driver_sql("SELECT code_hash, issued_by FROM enrolment_codes").one()
        assert kept.code_hash.startswith("$argon2id$")
        assert kept.issued_by == OPERATOR.who
        assert codes.enrolment_right(c, ALICE, letters, NOW + 1) == NOW
    newer = asyncio.run(enrolment.issue_code(alice.desk, OPERATOR, "alice", "12h"))
    assert newer["expires"] == stamp(NOW + DAY / 2)
    with alice.store.writing() as c:
        assert codes.enrolment_right(c, ALICE, letters, NOW + 1) is None
    event, account, _, detail = alice.events()[-1]
    assert (event, account, detail) == ("enrolment_code_issued", "alice@example.org", f"expires={newer['expires']}")
    assert not any(issued["code"] in str(record) or letters in str(record) for record in alice.events())


def test_a_link_sets_the_password_of_one_account_once(alice: Office) -> None:
    first, issued = (asyncio.run(enrolment.issue_password_link(alice.desk, OPERATOR, "alice")) for _ in range(2))
    assert issued["expires"] == stamp(NOW + DAY)
    match = re.fullmatch(r"https://login\.example\.org/set-password/([A-Za-z0-9_-]{43})", issued["link"])
    assert match is not None
    with alice.store.writing() as c:
        old = tokens.hash_of(first["link"].rpartition("/")[2])
        assert links.find(c, old, NOW + 1, Purpose.SET_PASSWORD) is None
        found = links.use(c, tokens.hash_of(match[1]), NOW + 1, Purpose.SET_PASSWORD)
        assert found is not None
        assert found.account_id == ALICE
        assert links.use(c, tokens.hash_of(match[1]), NOW + 1, Purpose.SET_PASSWORD) is None
    assert alice.events()[-1][0] == "password_link_issued"
    assert not any(match[1] in str(record) for record in alice.events())


@pytest.mark.parametrize(
    ("url", "then"), [("https://passwords.example.org", "people change theirs at https://p"), ("", "change it there")]
)
def test_where_a_directory_keeps_the_passwords_none_is_set_here(alice: Office, url: str, then: str) -> None:
    desk, config = alice.desk, alice.desk.config
    desk.config = replace(
        config, directory=LdapDirectory("ldaps://ldap.example.org"), portal=replace(config.portal, password_url=url)
    )
    password = Secret("correct horse battery")
    for tried in (
        enrolment.issue_password_link(desk, OPERATOR, "alice"),
        accounts.set_password(desk, OPERATOR, "alice", password),
        accounts.add(desk, OPERATOR, Wanted("bob", password=password)),
    ):
        with pytest.raises(Conflict, match=f"ldaps://ldap.example.org keeps the account passwords; {then}") as caught:
            asyncio.run(tried)
        assert caught.value.code == "kept_elsewhere"
    asyncio.run(accounts.add(desk, OPERATOR, Wanted("bob")))


def test_a_reset_takes_everything_away_that_lets_her_in(alice: Office) -> None:
    enrolled(alice)
    asyncio.run(enrolment.issue_code(alice.desk, OPERATOR, "alice"))
    alice.log.clear()
    alice.now += 100
    done = asyncio.run(enrolment.reset_factors(alice.desk, OPERATOR, "alice@example.org"))
    assert done == {
        "account": "alice@example.org",
        "mfa": "enabled",
        "factors": ["phone", "key"],
        "devices": 1,
        "sessions": 1,
        "mint_after": stamp(alice.now + MINT_WAIT),
    }
    with alice.store.reading() as c:
        assert factors.kinds(c, ALICE) == set()
        assert devices.of_account(c, ALICE) == []
        assert portal_sessions.of_account(c, ALICE, alice.now) == []
        assert challenges.open_of(c, ALICE, NOW + 1) == []
        person = people.by_id(c, ALICE)
        assert (person.mfa_since, person.bypass_until) == (alice.now, None)
        assert not person.may_mint(alice.now + MINT_WAIT - 1)
        assert person.may_mint(alice.now + MINT_WAIT)
        account = account_store.by_id(c, ALICE)
        assert account is not None
        assert account.mfa is MfaState.ENABLED
        assert c.exec_driver_sql("SELECT count(*) FROM enrolment_codes").scalar() == 0
    assert alice.log == [f"changed {ALICE}"]
    assert alice.events()[-1][0] == "factors_reset"
    assert alice.events()[-1][3] == "factors=2 devices=1 sessions=1 enforced->enabled"


def test_who_enrols_with_a_code_after_a_reset_waits_for_nothing(alice: Office) -> None:
    enrolled(alice)
    asyncio.run(enrolment.reset_factors(alice.desk, OPERATOR, "alice"))
    issued = asyncio.run(enrolment.issue_code(alice.desk, OPERATOR, "alice"))
    with alice.store.writing() as c:
        shown = codes.enrolment_right(c, ALICE, enrolment_codes.normalize(issued["code"]) or "", NOW + 1)
        assert shown is not None
        assert not people.by_id(c, ALICE).may_mint(NOW + 1)
        assert codes.spend_enrolment(c, ALICE, shown, NOW + 1)
        assert people.by_id(c, ALICE).may_mint(NOW + 1)


def test_a_reset_enables_nobody_who_is_disabled(alice: Office) -> None:
    enrolled(alice, MfaState.DISABLED)
    assert asyncio.run(enrolment.reset_factors(alice.desk, OPERATOR, "alice"))["mfa"] == "disabled"
    with alice.store.reading() as c:
        assert people.by_id(c, ALICE).mfa_since is None
        assert factors.kinds(c, ALICE) == set()


def test_an_operator_ends_what_a_report_of_fraud_began(alice: Office) -> None:
    with alice.store.writing() as c:
        people.change(c, ALICE, push_blocked=True, must_change=True)
    assert asyncio.run(enrolment.unblock(alice.desk, OPERATOR, "alice"))["unblocked"]
    with alice.store.reading() as c:
        person = people.by_id(c, ALICE)
    assert (person.push_blocked, person.must_change) == (False, False)
    assert alice.events()[-1][0] == "mfa_unblocked"
    with alice.store.writing() as c:  # as after a new account password, where the portal was closed for days
        people.change(c, ALICE, stopped_until=NOW + 60)
    assert asyncio.run(enrolment.unblock(alice.desk, OPERATOR, "alice"))["unblocked"]
    with alice.store.reading() as c:
        assert not people.by_id(c, ALICE).stopped(NOW)
    # Somebody who is to change it for another reason has not reported anything.
    with alice.store.writing() as c:
        people.change(c, ALICE, must_change=True)
    assert not asyncio.run(enrolment.unblock(alice.desk, OPERATOR, "alice"))["unblocked"]
    with alice.store.reading() as c:
        assert people.by_id(c, ALICE).must_change


def test_a_bypass_ends_by_itself_or_at_once(alice: Office) -> None:
    enrolled(alice)

    def bypassed(now: float) -> bool:
        with alice.store.reading() as c:
            return people.by_id(c, ALICE).bypassed(now)

    done = asyncio.run(enrolment.bypass(alice.desk, OPERATOR, "alice", 30))
    assert done == {"account": "alice@example.org", "until": stamp(NOW + 1800)}
    assert [bypassed(NOW + later) for later in (1799, 1800)] == [True, False]
    assert asyncio.run(enrolment.bypass(alice.desk, OPERATOR, "alice", 0))["until"] is None
    assert not bypassed(NOW + 1)
    assert [record[3] for record in alice.events()[-2:]] == ["minutes=30", "minutes=0"]


def test_a_bypass_where_there_is_nothing_to_bypass(alice: Office) -> None:
    with pytest.raises(Conflict, match="without a factor anyway"):
        asyncio.run(enrolment.bypass(alice.desk, OPERATOR, "alice", 5))
    asyncio.run(mfa.set_state(alice.desk, OPERATOR, MfaState.ENABLED, ["alice"]))
    with pytest.raises(Conflict, match=r"sidegate accounts enrolment-code alice@example\.org"):
        asyncio.run(enrolment.bypass(alice.desk, OPERATOR, "alice", 5))
    with pytest.raises(Invalid, match="1 to 1440 minutes"):
        asyncio.run(enrolment.bypass(alice.desk, OPERATOR, "alice", 1441))


def test_only_persons_and_no_longer_than_it_makes_sense(alice: Office) -> None:
    asyncio.run(accounts.add(alice.desk, OPERATOR, Wanted("info", kind="shared")))
    for ask in (
        lambda name: enrolment.issue_code(alice.desk, OPERATOR, name),
        lambda name: enrolment.issue_password_link(alice.desk, OPERATOR, name),
        lambda name: enrolment.reset_factors(alice.desk, OPERATOR, name),
        lambda name: enrolment.bypass(alice.desk, OPERATOR, name, 5),
        lambda name: enrolment.unblock(alice.desk, OPERATOR, name),
    ):
        with pytest.raises(Invalid, match="is a shared account, not a person"):
            asyncio.run(ask("info"))
        with pytest.raises(NotFound, match="there is no account 'nobody'"):
            asyncio.run(ask("nobody"))
    for ask in (enrolment.issue_code, enrolment.issue_password_link):
        with pytest.raises(Invalid, match="too long; write at most 90d"):
            asyncio.run(ask(alice.desk, OPERATOR, "alice", "91d"))
        with pytest.raises(Invalid, match="neither a length of time"):
            asyncio.run(ask(alice.desk, OPERATOR, "alice", "soon"))


def test_a_factor_is_due_from_the_day_mfa_was_enabled(alice: Office) -> None:
    def since() -> float | None:
        with alice.store.reading() as c:
            return people.by_id(c, ALICE).mfa_since

    assert since() is None
    asyncio.run(mfa.set_state(alice.desk, OPERATOR, MfaState.ENABLED, None))
    assert since() == NOW
    alice.now += 50
    asyncio.run(mfa.set_state(alice.desk, OPERATOR, MfaState.ENABLED, None))
    asyncio.run(mfa.set_state(alice.desk, OPERATOR, MfaState.ENFORCED, ["alice"]))
    assert since() == NOW
    asyncio.run(mfa.set_state(alice.desk, OPERATOR, MfaState.DISABLED, ["alice"]))
    assert since() is None


def test_listings_show_factors_and_the_last_sign_in(alice: Office) -> None:
    asyncio.run(accounts.add(alice.desk, OPERATOR, Wanted("bob")))
    enrolled(alice)
    with alice.store.writing() as c:
        for outcome, time in ((Outcome.SIGNED_IN, NOW), (Outcome.WRONG_PASSWORD, NOW + 5)):
            sign_ins.record(c, SignIn(ALICE, time, outcome, None, "192.0.2.7", "192.0.2.7/32", "Firefox"))
    listed = asyncio.run(accounts.listing(alice.desk))
    assert [(row["factors"], row["last_sign_in"]) for row in listed] == [(["passkey", "totp"], stamp(NOW)), ([], None)]
    shown = asyncio.run(accounts.show(alice.desk, "alice"))
    assert (shown["factors"], shown["last_sign_in"]) == (["passkey", "totp"], stamp(NOW))
