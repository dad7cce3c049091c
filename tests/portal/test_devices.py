from __future__ import annotations

import pytest

from proxy.store import devices
from tests.admin.office import NOW
from tests.portal.guest import Guest, text
from tests.portal.site import Site


@pytest.fixture
def alice(site: Site) -> Guest:
    return Guest(site, site.alice)


def known(guest: Guest) -> list[int]:
    with guest.site.office.store.reading() as c:
        return [device.id for device in devices.of_account(c, guest.account.id)]


def test_devices_are_listed_with_what_is_known_of_them(site: Site, alice: Guest) -> None:
    other = Guest(site, alice.account)
    with site.office.store.writing() as c:
        devices.remember(c, alice.account.id, other.device.id, NOW + 5 * 86400)
        devices.rename(c, alice.account.id, other.device.id, "Safari <b>(iPhone)</b>")
        devices.seen(c, other.device.id, NOW - 7200, "198.51.100.4")
    page = alice.get("/devices")
    assert "Firefox (Linux) this one Last sign-in just now · 192.0.2.1" in text(page.text)
    assert "Safari <b>(iPhone)</b> Last sign-in 2 hours ago · 198.51.100.4" in text(page.text)
    assert "the account password is enough there; this ends in 5 days" in text(page.text)
    assert "<b>(" not in page.text
    site.office.now += 6 * 86400
    assert "Remembered" not in text(Guest(site, alice.account).get("/devices").text)


def test_one_is_forgotten_and_who_is_signed_in_there_is_out(site: Site, alice: Guest) -> None:
    other = Guest(site, alice.account)
    done = alice.post("/devices/forget", {"id": other.device.id})
    assert (done.status_code, "“Firefox (Linux)” was forgotten." in text(done.text)) == (200, True)
    assert known(alice) == [alice.device.id]
    assert other.get("/devices").headers["location"].startswith("/sign-in")
    event = site.office.events()[-1]
    assert event == ("device_removed", "alice@example.org", None, "Firefox (Linux)")
    again = alice.post("/devices/forget", {"id": other.device.id})
    assert (again.status_code, "It was forgotten already." in text(again.text)) == (200, True)


def test_who_forgets_this_one_is_signed_out(site: Site, alice: Guest) -> None:
    done = alice.post("/devices/forget", {"id": alice.device.id})
    assert (done.status_code, done.headers["location"]) == (303, "/sign-in")
    assert "__Host-sidegate=" in done.headers["set-cookie"]
    assert alice.get("/devices").headers["location"].startswith("/sign-in")


def test_all_others_are_forgotten_at_once(site: Site, alice: Guest) -> None:
    others = [Guest(site, alice.account) for _ in range(3)]
    bob = Guest(site, site.person("bob"))
    done = alice.post("/devices/forget", {"all": "on"})
    assert "3 devices were forgotten." in text(done.text)
    assert known(alice) == [alice.device.id]
    assert alice.get("/devices").status_code == bob.get("/devices").status_code == 200
    assert all(other.get("/devices").status_code == 303 for other in others)
    assert [event[0] for event in site.office.events()].count("device_removed") == 3


def test_other_peoples_devices_are_left_alone(site: Site, alice: Guest) -> None:
    bob = Guest(site, site.person("bob"))
    assert "It was forgotten already." in text(alice.post("/devices/forget", {"id": bob.device.id}).text)
    assert known(bob) == [bob.device.id]


@pytest.mark.parametrize("form", [{}, {"id": "x"}, {"id": ""}])
def test_a_form_that_is_none_of_ours(alice: Guest, form: dict[str, str]) -> None:
    assert alice.post("/devices/forget", form).status_code == 400
