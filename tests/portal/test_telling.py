"""What people are told of what is done at the portal, and by operators."""

from __future__ import annotations

import asyncio
import re

from proxy.admin import accounts as admin_accounts
from proxy.admin import app_passwords, enrolment
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, AccountKind, MfaState
from proxy.domain.secret import Secret
from proxy.store import accounts, factors, notices, people
from proxy.store.accounts import NewAccount
from proxy.store.factors import NewFactor
from tests.admin.office import NOW, OPERATOR
from tests.portal.site import PASSWORD, App, Site
from tests.portal.test_enrolment import key_of


def told(site: Site, account: Account) -> list[tuple[str, str, dict[str, str]]]:
    """Kind, channel and facts, the first one first; forgotten then."""
    found = site.read(notices.last, account.id, 99)
    for one in found:
        site.write(notices.turn, one, "page", "", 0.0)
    site.write(notices.prune, site.office.now + 31 * 86400)
    return [(one.kind, one.channel, dict(one.text)) for one in reversed(found)]


def kinds(site: Site, account: Account) -> list[str]:
    return [kind for kind, _, _ in told(site, account)]


def test_a_sign_in_in_a_new_browser_and_none_in_one_that_is_known(site: Site) -> None:
    browser = site.signed_in()
    ((kind, channel, facts),) = told(site, site.alice)
    assert (kind, channel) == ("signed_in", "mailbox")
    assert facts.pop("device_id").isdigit()
    assert facts == {"account": "alice@example.org", "agent": "Firefox (Linux)", "address": "192.0.2.1"}
    browser.post("/sign-out")
    browser.post("/sign-in", name="alice", password=PASSWORD)
    assert told(site, site.alice) == []


def test_a_known_browser_in_a_new_place(site: Site) -> None:
    browser = site.signed_in()
    told(site, site.alice)
    for address, expected in (("192.0.99.1", []), ("198.51.100.1", ["signed_in"]), ("198.51.100.2", [])):
        browser.post("/sign-out")
        browser.address = address
        browser.post("/sign-in", name="alice", password=PASSWORD)
        assert kinds(site, site.alice) == expected


def test_whose_password_was_wrong_is_told_nothing_at_once(site: Site) -> None:
    site.browser().post("/sign-in", name="alice", password="guess")
    assert told(site, site.alice) == []


def test_a_recovery_code_instead_of_the_sign_in(site: Site) -> None:
    carol, app = site.enrolled("carol")
    browser = site.signed_in("carol")
    page = browser.get("/challenge/totp")
    assert browser.send(page, code=app.code()).status_code == 303
    assert kinds(site, carol) == ["signed_in"]
    page = browser.get("/factors/add/recovery_code")
    code = re.findall(r"[a-z]{5}-[a-z]{5}-[a-z]{5}", page.text)[0]
    assert browser.post("/factors/add/recovery_code").status_code == 303
    assert kinds(site, carol) == ["recovery_codes_made"]
    other = site.signed_in("carol")
    assert other.send(other.get("/challenge/recovery_code"), code=code).status_code == 303
    ((kind, _, facts),) = told(site, carol)
    assert (kind, facts["left"]) == ("recovery_code_used", "9")
    assert facts["device_id"].isdigit()


def test_factors_that_come_and_go(site: Site) -> None:
    carol, app = site.enrolled("carol")
    browser = site.signed_in("carol")
    browser.send(browser.get("/challenge/totp"), code=app.code())
    told(site, carol)
    extra = site.write(factors.add, carol.id, NewFactor(FactorKind.TOTP, "Old"), NOW)
    assert browser.post(f"/factors/{extra.id}/remove").status_code == 303
    ((kind, _, facts),) = told(site, carol)
    assert (kind, facts["name"], facts["factor"]) == ("factor_removed", "Old", "totp")
    (last,) = site.read(factors.of_account, carol.id)
    assert browser.post(f"/factors/{last.id}/remove").status_code == 409
    assert told(site, carol) == []


def test_an_account_password_by_its_person_and_by_an_operator(site: Site) -> None:
    browser = site.signed_in()
    told(site, site.alice)
    page = browser.get("/account-password")
    new = "a new one, quite long"
    assert browser.send(page, current=PASSWORD, new=new, again=new).status_code == 200
    ((kind, _, facts),) = told(site, site.alice)
    assert (kind, facts["address"]) == ("account_password_changed", "192.0.2.1")
    asyncio.run(admin_accounts.set_password(site.office.desk, OPERATOR, "alice", Secret("another one, quite long")))
    assert told(site, site.alice) == [
        ("account_password_changed", "mailbox", {"account": "alice@example.org", "by": "operator"})
    ]


def test_an_app_password_that_an_operator_made(site: Site) -> None:
    made = asyncio.run(app_passwords.create(site.office.desk, OPERATOR, "alice", "Phone"))
    ((kind, _, facts),) = told(site, site.alice)
    assert kind == "app_password_created"
    assert facts == {
        "name": "Phone",
        "account": "alice@example.org",
        "app_password_id": str(made["id"]),
        "by": "operator",
    }
    assert made["secret"] not in str(facts)


def test_an_app_password_of_a_shared_mailbox_is_told_to_its_member(site: Site) -> None:
    with site.office.store.writing() as c:
        team = accounts.add(c, NewAccount("team@example.org", NOW, kind=AccountKind.SHARED))
        accounts.add_member(c, team.id, site.alice.id)
    asyncio.run(app_passwords.create(site.office.desk, OPERATOR, "team", "Desk"))
    ((_, _, facts),) = told(site, site.alice)
    assert (facts["account"], facts["name"]) == ("team@example.org", "Desk")
    assert told(site, team) == []


def test_a_reset_reaches_every_old_channel(site: Site) -> None:
    carol, _ = site.enrolled("carol")
    site.write(people.change, carol.id, recovery_address="carol@example.net")
    site.write(factors.add, carol.id, NewFactor(FactorKind.PUSH, "Phone", public={"endpoint": "https://p/1"}), NOW)
    asyncio.run(enrolment.reset_factors(site.office.desk, OPERATOR, "carol"))
    assert [channel for kind, channel, _ in told(site, carol) if kind == "factors_reset"] == [
        "push",
        "recovery",
        "mailbox",
    ]
    assert site.read(factors.of_account, carol.id) == []


def test_a_first_factor_is_one_notice(site: Site) -> None:
    dave = site.person("dave", MfaState.ENABLED)
    site.desk.trusted = type(site.desk.trusted)(("192.0.2.0/24",))
    browser = site.signed_in("dave")
    page = browser.get("/enrol/totp")
    assert browser.send(page, code=App(site, key_of(page)).code()).status_code == 303
    ((kind, _, facts),) = told(site, dave)
    assert (kind, facts["factor"]) == ("factor_added", "totp")
