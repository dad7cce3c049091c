"""Limits make failures cheap and keep nobody out who has a right app password (DESIGN section 4; threats 28-30, 33)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from proxy.cli.client import Client
from tests.hostile.stand import (
    ACCOUNT_PASSWORD,
    ALICE,
    NOT_ACCEPTED,
    NOT_APP_PASSWORD,
    Stand,
    limited,
    refused,
    rest,
    shaped,
    together,
)
from tests.peers.process import wait_until
from tests.support.sidegate import Certificates
from tests.support.talk import Talk, plain

PLACES = 15
"""Connections of one network that are not logged in."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Stand]:
    limits = {
        "refusal_delay": "10ms",
        "shaped_per_network": 60,
        "sessions_per_app_password": 3,
        "sessions_per_account": 4,
        "connections_per_network": PLACES,
        "penalty": "10m",
    }
    stand = Stand(tmp_path_factory.mktemp("limits"), certificates, limits=limits)
    yield stand
    stand.stop()


@pytest.fixture
def stand(shop: Stand) -> Iterator[Stand]:
    yield shop
    shop.unharmed()


def tries(stand: Stand, protocol: str, pairs: list[tuple[str, str]], source: str) -> list[list[str]]:
    """The answers to (name, secret) pairs one after the other, ten to a connection."""
    answers = []
    talk: Talk | None = None
    for number, (name, secret) in enumerate(pairs):
        if number % 10 == 0:
            if talk is not None:
                talk.close()
            talk = stand.talk(protocol, source=source)
            if protocol == "smtp":
                talk.smtp("EHLO guess")
        assert talk is not None
        if protocol == "imap":
            answers.append(talk.imap(f'LOGIN "{name}" {secret}'))
        else:
            answers.append(talk.smtp(f"AUTH PLAIN {plain(name, secret)}"))
    if talk is not None:
        talk.close()
    return answers


@pytest.mark.parametrize(("protocol", "source"), [("imap", "127.0.5.1"), ("smtp", "127.0.5.2")])
def test_sixty_guesses_limit_a_network_and_no_right_app_password(stand: Stand, protocol: str, source: str) -> None:
    guesses = [(f"user{number % 6}", shaped(number)) for number in range(60)]
    assert tries(stand, protocol, guesses, source) == [refused(protocol, NOT_ACCEPTED)] * 60
    more = [(f"user{number % 6}", shaped(number)) for number in range(60, 90)]
    assert tries(stand, protocol, more, source) == [limited(protocol)] * 30
    start = time.monotonic()
    session = stand.imap(ALICE, stand.right, source=source)
    assert time.monotonic() - start < 8
    session.close()
    stand.smtp_session(ALICE, stand.right, source=source).close()
    # the person with the account password in an old program is still told what to do
    assert stand.refusal(protocol, ALICE, ACCOUNT_PASSWORD, source=source) == refused(protocol, NOT_APP_PASSWORD)
    assert stand.refusal(protocol, ALICE, shaped(5), source="127.0.5.3") == refused(protocol, NOT_ACCEPTED)
    assert sum(f"rip={source} " in line and "login refused" in line for line in stand.gate.log().splitlines()) <= 60


def test_twenty_guesses_at_one_account_limit_that_pair_only(stand: Stand) -> None:
    source = "127.0.5.4"
    answers = tries(stand, "imap", [(ALICE, shaped(number)) for number in range(100, 125)], source)
    assert answers == [refused("imap", NOT_ACCEPTED)] * 20 + [limited("imap")] * 5
    assert stand.refusal("imap", "bob", shaped(5), source=source) == refused("imap", NOT_ACCEPTED)
    assert stand.refusal("smtp", ALICE, shaped(5), source=source) == limited("smtp")
    stand.imap(ALICE, stand.right, source=source).close()


def test_a_phone_with_a_revoked_app_password_bans_nobody(stand: Stand) -> None:
    """Threat 30."""
    source = "127.0.5.6"
    old = stand.mint(ALICE, "old phone")
    assert stand.gate.cli("passwords", "revoke", ALICE, "old phone").returncode == 0
    assert tries(stand, "imap", [(ALICE, old)] * 100, source) == [refused("imap", NOT_ACCEPTED)] * 100
    assert tries(stand, "smtp", [("bob", shaped(7))] * 100, source) == [refused("smtp", NOT_ACCEPTED)] * 100
    assert stand.refusal("imap", ALICE, shaped(8), source=source) == refused("imap", NOT_ACCEPTED)
    stand.imap(ALICE, stand.right, source=source).close()


def test_more_old_phones_than_a_limit_ban_nobody(stand: Stand) -> None:
    """Twenty-five different tombstones of one account, from one network: none of them is a guess."""
    source, dave = "127.0.5.7", "dave@example.org"
    stand.gate.add_account(dave)
    with Client(stand.gate.root / "run" / "admin.sock") as api:
        created = [api.post(f"accounts/{dave}/app-passwords", {"name": f"phone {n}"}) for n in range(25)]
    old = [str(each["secret"]) for each in created]
    stand.secrets += old
    assert stand.gate.cli("passwords", "revoke", dave, "--all", "--yes").returncode == 0
    assert tries(stand, "imap", [(dave, secret) for secret in old], source) == [refused("imap", NOT_ACCEPTED)] * 25
    assert stand.refusal("smtp", dave, shaped(9), source=source) == refused("smtp", NOT_ACCEPTED)


def test_nobody_is_locked_out_by_others(stand: Stand) -> None:
    """Threat 29: from one of the attacking networks or another, while the guessing goes on."""
    over = False

    def guess(number: int) -> None:
        source = f"127.0.5.{20 + number}"
        for start in range(0, 10_000, 30):
            if over:
                return
            tries(stand, "imap", [(ALICE, shaped(1000 * number + start + n)) for n in range(30)], source)

    def own() -> list[float]:
        nonlocal over
        seconds = []
        try:
            for number in range(12):
                start = time.monotonic()
                stand.imap(ALICE, stand.right, source=f"127.0.5.{20 + number}").close()
                seconds.append(time.monotonic() - start)
        finally:
            over = True
        return seconds

    *_, seconds = together([*(lambda n=n: guess(n) for n in range(4)), own])
    assert len(seconds) == 12
    assert max(seconds) < 8


def test_sessions_of_an_app_password_and_of_an_account(stand: Stand) -> None:
    stand.gate.add_account("carol@example.org")
    one, other = (stand.mint("carol", name) for name in ("one", "other"))
    live = [stand.imap("carol", one), stand.imap("carol", one), stand.smtp_session("carol", one)]
    assert stand.refusal("imap", "carol", one) == limited("imap")
    assert stand.refusal("smtp", "carol", one) == limited("smtp")
    live.append(stand.imap("carol", other))
    assert stand.refusal("imap", "carol", other) == limited("imap")
    assert {row["reason"] for row in stand.gate.json("why", "carol")} <= {"too_many_sessions"}
    live.pop(0).close()
    wait_until(lambda: len(stand.gate.json("sessions", "list", "carol")) == 3, "the closed session gone")
    live.append(stand.imap("carol", one))
    for talk in live:
        assert talk.imap("NOOP")[-1] == "t OK done" if talk is not live[1] else talk.smtp("NOOP") == ["250 2.1.0 Ok"]
        talk.close()


def said(protocol: str, text: str) -> str:
    return "".join(line + "\r\n" for line in refused(protocol, text))


REFUSED_TEN_TIMES = [
    ("imap", "implicit", "t LOGIN alice wrong", said("imap", NOT_APP_PASSWORD)),
    ("imap", "implicit", f"t LOGIN alice {shaped(3)}", said("imap", NOT_ACCEPTED)),
    ("imap", "starttls", "t LOGIN alice wrong", "t NO [PRIVACYREQUIRED] TLS is required before login\r\n"),
    ("smtp", "implicit", f"AUTH PLAIN {plain('alice', 'wrong')}", said("smtp", NOT_APP_PASSWORD)),
    ("smtp", "implicit", f"AUTH PLAIN {plain('alice', shaped(3))}", said("smtp", NOT_ACCEPTED)),
    ("smtp", "implicit", "AUTH PLAIN ????", "501 5.5.2 Cannot decode response\r\n"),
    ("smtp", "starttls", "AUTH PLAIN wrong", "530 5.7.0 Must issue a STARTTLS command first\r\n"),
]


@pytest.mark.parametrize(("protocol", "tls", "command", "reply"), REFUSED_TEN_TIMES)
def test_the_tenth_refusal_is_the_last(stand: Stand, protocol: str, tls: str, command: str, reply: str) -> None:
    """Every one of them is told why; the last is followed by a farewell."""
    talk = stand.talk(protocol, tls, source="127.0.5.40")
    if protocol == "smtp":
        talk.smtp("EHLO again")
    got = b""
    for number in range(10):
        talk.send(command)
        while number < 9 and got.count(b"\n") < (number + 1) * reply.count("\n"):
            got += talk.socket.recv(4096)
    got += rest(talk.socket)
    bye = "* BYE Too many failed logins\r\n" if protocol == "imap" else "421 4.7.0 Too many failed logins\r\n"
    assert got.decode() == reply * 10 + bye
    talk.close()


def test_places_of_a_network_that_is_not_logged_in(stand: Stand) -> None:
    """Threat 33: at the cap the oldest goes and the newcomer is served; sessions and other networks do not count."""
    source = "127.0.5.50"
    session = stand.imap(ALICE, stand.right, source=source)
    idle = [stand.talk("imap", source=source) for _ in range(PLACES + 5)]
    for talk in idle[:5]:
        assert rest(talk.socket) == b""
    for talk in idle[5:]:
        assert talk.imap("NOOP") == ["t OK NOOP completed"]
    stand.talk("imap", source="127.0.5.51").close()
    assert session.imap("NOOP")[-1] == "t OK done"
    stand.imap(ALICE, stand.right, source=source).close()
    for talk in (*idle, session):
        talk.close()
