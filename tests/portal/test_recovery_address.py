"""The recovery address, with a real mail server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from proxy.notices.mailer import Mailer
from proxy.store import factors, notices, people
from tests.notices.post_office import PostOffice, post_office
from tests.portal.guest import Guest, text
from tests.portal.site import Site

ADDRESS = "alice@example.net"


@pytest.fixture
def office(site: Site) -> Iterator[PostOffice]:
    with post_office() as opened:
        site.desk.mailer = Mailer(opened.settings(), "Example Mail", "login.example.org")
        yield opened


@pytest.fixture
def alice(site: Site) -> Guest:
    site.app(site.alice)
    return Guest(site, site.alice)


def now(site: Site) -> str | None:
    return site.read(people.by_id, site.alice.id).recovery_address


def code_in(office: PostOffice) -> str:
    (code,) = re.findall(r"^ +([a-z]{4}-[a-z]{4})\s*$", office.mails[-1].get_content(), re.M)
    return str(code)


def test_it_counts_once_the_code_is_typed_in(site: Site, alice: Guest, office: PostOffice) -> None:
    assert "/recovery-address" in alice.get("/factors").text
    assert 'name="code"' not in alice.get("/recovery-address").text
    sent = alice.post("/recovery-address", {"address": " Alice@EXAMPLE.net "})
    assert "A code was sent to alice@example.net." in text(sent.text)
    (mail,) = office.mails
    assert (mail["to"], mail["subject"]) == (ADDRESS, "Your code – Example Mail")
    body = mail.get_content()
    assert "alice@example.org" in body
    assert "http" not in body
    assert now(site) is None
    wrong = alice.post("/recovery-address/prove", {"code": "aaaa-aaaa"})
    assert (wrong.status_code, "That is not the code" in text(wrong.text)) == (400, True)
    assert "Type the code that was sent to alice@example.net." in text(alice.get("/recovery-address").text)
    site.later(10)
    right = alice.post("/recovery-address/prove", {"code": code_in(office).upper()})
    assert "is sent to alice@example.net from now on" in text(right.text)
    assert now(site) == ADDRESS
    assert [row[0] for row in site.audit()][-1] == "recovery_address_changed"
    site.later(10)
    assert alice.post("/recovery-address/prove", {"code": code_in(office)}).status_code == 400, "a code counts once"


def test_a_change_tells_the_old_address(site: Site, alice: Guest, office: PostOffice) -> None:
    site.write(people.change, site.alice.id, recovery_address="old@example.net")
    alice.post("/recovery-address", {"address": ADDRESS})
    alice.post("/recovery-address/prove", {"code": code_in(office)})
    told = site.read(notices.last, site.alice.id, 9)
    assert {(one.channel, one.recipient, one.text["recovery_address"]) for one in told if one.sent is None} == {
        ("recovery", "old@example.net", ADDRESS),
        ("mailbox", "alice@example.org", ADDRESS),
    }
    site.later(60)
    assert "was removed" in text(alice.post("/recovery-address/remove").text)
    assert now(site) is None
    assert site.read(notices.last, site.alice.id, 1)[0].text["recovery_address"] == "alice@example.org"


def test_it_needs_a_fresh_factor(site: Site, office: PostOffice) -> None:
    site.app(site.alice)
    stale = Guest(site, site.alice, factor_age=1000.0)
    answers = [stale.get("/recovery-address")]
    answers += [stale.post(f"/recovery-address{what}", {"address": ADDRESS}) for what in ("", "/prove", "/remove")]
    for answer in answers:
        assert answer.headers["location"] == "/challenge?next=/recovery-address"
    assert office.tried == []


@pytest.mark.parametrize(
    "address", ["", "alice", "a@b, c@d", "alice@example.net\r\nBcc: eve@example.net", "<x@y.z>", "al@example.org"]
)
def test_what_is_no_address_of_another_mailbox(site: Site, alice: Guest, office: PostOffice, address: str) -> None:
    assert alice.post("/recovery-address", {"address": address}).status_code == 400
    assert office.tried == []


def test_only_the_newest_code_counts_and_not_for_ever(site: Site, alice: Guest, office: PostOffice) -> None:
    alice.post("/recovery-address", {"address": "first@example.net"})
    first = code_in(office)
    alice.post("/recovery-address", {"address": ADDRESS})
    assert alice.post("/recovery-address/prove", {"code": first}).status_code == 400
    site.later(3600)
    again = Guest(site, site.alice)
    assert again.post("/recovery-address/prove", {"code": code_in(office)}).status_code == 400
    assert now(site) is None


def test_codes_of_one_person_are_none_of_another(site: Site, alice: Guest, office: PostOffice) -> None:
    bob = site.person("bob")
    site.app(bob)
    alice.post("/recovery-address", {"address": ADDRESS})
    assert Guest(site, bob).post("/recovery-address/prove", {"code": code_in(office)}).status_code == 400
    assert site.read(people.by_id, bob.id).recovery_address is None


def test_guesses_are_delayed_and_mails_are_few(site: Site, alice: Guest, office: PostOffice) -> None:
    for n in range(6):
        site.later(1)
        last = alice.post("/recovery-address", {"address": f"x{n}@example.net"})
    assert (last.status_code, len(office.taken)) == (429, 5)
    statuses = [alice.post("/recovery-address/prove", {"code": "bbbb-bbbb"}).status_code for _ in range(4)]
    assert statuses[-1] == 429
    assert 400 in statuses


@pytest.mark.parametrize(("reply", "status"), [("550 5.1.1 nobody", 400), ("451 4.3.0 later", 503)])
def test_a_mail_that_is_not_taken_is_said(
    site: Site, alice: Guest, office: PostOffice, reply: str, status: int
) -> None:
    office.replies["RCPT"] = reply
    answer = alice.post("/recovery-address", {"address": ADDRESS})
    assert answer.status_code == status
    assert f'value="{ADDRESS}"' in answer.text, "nothing is lost"


def test_where_no_mail_is_sent_there_is_no_such_page(site: Site, alice: Guest) -> None:
    assert alice.get("/recovery-address").status_code == 404
    assert "/recovery-address" not in alice.get("/factors").text
    assert site.read(factors.kinds, site.alice.id)
