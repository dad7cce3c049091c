"""What a refused client hears, when, and what the operator is told instead (DESIGN section 4; facts: threats 4, 25-27).

One round of attempts, of every class over every mechanism, is made for the whole module.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.hostile.stand import (
    ACCOUNT_PASSWORD,
    ALICE,
    NOT_ACCEPTED,
    NOT_APP_PASSWORD,
    URL,
    Stand,
    b64,
    shaped,
    together,
)
from tests.peers.process import wait_until
from tests.support.sidegate import Certificates
from tests.support.talk import Talk, plain

BOB = "bob@example.org"
OFF = "off@example.org"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Stand]:
    stand = Stand(tmp_path_factory.mktemp("refusals"), certificates, limits={"refusal_delay": "1s"})
    for address in (BOB, OFF):
        done = stand.gate.cli("accounts", "add", address, "--password-file", "-", stdin=ACCOUNT_PASSWORD)
        assert done.returncode == 0, done.stderr
    yield stand
    stand.stop()


# ---- the ways to try -------------------------------------------------------------------------

Mechanism = Callable[[Talk, str, str], None]


def imap_login(talk: Talk, name: str, secret: str) -> None:
    talk.send(f't LOGIN "{name}" "{secret}"')


def imap_plain(talk: Talk, name: str, secret: str) -> None:
    talk.send(f"t AUTHENTICATE PLAIN {plain(name, secret)}")


def imap_sasl_login(talk: Talk, name: str, secret: str) -> None:
    talk.send("t AUTHENTICATE LOGIN")
    talk.line()
    talk.send(b64(name.encode()))
    talk.line()
    talk.send(b64(secret.encode()))


def smtp_plain(talk: Talk, name: str, secret: str) -> None:
    talk.send(f"AUTH PLAIN {plain(name, secret)}")


def smtp_login(talk: Talk, name: str, secret: str) -> None:
    talk.send("AUTH LOGIN " + b64(name.encode()))
    talk.line()
    talk.send(b64(secret.encode()))


MECHANISMS = [
    ("imap", imap_login),
    ("imap", imap_plain),
    ("imap", imap_sasl_login),
    ("smtp", smtp_plain),
    ("smtp", smtp_login),
]


FROM = {"imap": "127.0.6.1", "smtp": "127.0.6.2"}
"""One address each: `sidegate why` then has a row for a reason, and shows the last 20."""


@dataclass(frozen=True)
class Case:
    name: str
    secret: str
    reason: str


@dataclass
class Heard:
    case: str
    protocol: str
    mechanism: str
    lines: list[str]
    seconds: float


def attempt(stand: Stand, label: str, case: Case, protocol: str, mechanism: Mechanism, source: str) -> Heard:
    talk = stand.talk(protocol, source=source)
    if protocol == "smtp":
        talk.smtp("EHLO tester")
    start = time.monotonic()
    mechanism(talk, case.name, case.secret)
    first = [talk.line()]
    seconds = time.monotonic() - start
    if protocol == "imap":
        first += talk.until("t ")
    talk.close()
    return Heard(label, protocol, mechanism.__name__, first, seconds)


def cases(stand: Stand) -> dict[str, dict[str, Case]]:
    """By protocol; eight classes of shaped secrets that are not accepted, four of account passwords."""
    gate = stand.gate
    revoked = stand.mint(ALICE, "old phone")
    assert gate.cli("passwords", "revoke", ALICE, "old phone", "--yes").returncode == 0
    expired = stand.mint(ALICE, "for a moment", "--expires", "1s")
    elsewhere = stand.mint(ALICE, "only there", "--network", "192.0.2.0/24")
    only = {
        "smtp": stand.mint(ALICE, "only imap", "--scope", "imap"),
        "imap": stand.mint(ALICE, "only smtp", "--scope", "smtp"),
    }
    disabled = stand.mint(OFF, "disabled")
    assert gate.cli("accounts", "disable", OFF).returncode == 0
    time.sleep(1.0)
    return {
        protocol: {
            "unknown account": Case("nobody@example.org", shaped(1), "unknown_account"),
            "unknown app password": Case(ALICE, shaped(2), "unknown_app_password"),
            "of another account": Case(BOB, stand.right, "unknown_app_password"),
            "revoked": Case(ALICE, revoked, "revoked"),
            "expired": Case(ALICE, expired, "expired"),
            "scope": Case(ALICE, only[protocol], "wrong_scope"),
            "network": Case(ALICE, elsewhere, "wrong_network"),
            "disabled": Case(OFF, disabled, "account_disabled"),
            "no login name": Case("alice*master", stand.right, "bad_login_name"),
            "foreign domain": Case("alice@example.com", stand.right, "unknown_account"),
            "account password": Case(BOB, ACCOUNT_PASSWORD, "not_app_password"),
            "wrong account password": Case(BOB, "another-account-password", "not_app_password"),
            "unknown account and password": Case("nobody@example.org", ACCOUNT_PASSWORD, "not_app_password"),
            "nameless account password": Case("bob smith", ACCOUNT_PASSWORD, "not_app_password_name"),
            "one letter wrong": Case(ALICE, wrong_letter(stand.right), "not_app_password"),
            "disabled, account password": Case(OFF, ACCOUNT_PASSWORD, "not_app_password"),
        }
        for protocol in ("imap", "smtp")
    }


def wrong_letter(secret: str) -> str:
    return ("b" if secret[0] != "b" else "c") + secret[1:]


SHAPED = ["unknown account", "unknown app password", "of another account", "revoked", "expired", "scope", "network"]
SHAPED += ["disabled", "no login name", "foreign domain"]


@pytest.fixture(scope="module")
def tried(office: Stand) -> dict[str, dict[str, Case]]:
    return cases(office)


@pytest.fixture(scope="module")
def heard(office: Stand, tried: dict[str, dict[str, Case]]) -> list[Heard]:
    """Every answer there was; the attempts are made at the same time."""
    jobs = [
        lambda label=label, case=case, protocol=protocol, mechanism=mechanism: attempt(
            office, label, case, protocol, mechanism, FROM[protocol]
        )
        for protocol, mechanism in MECHANISMS
        for label, case in tried[protocol].items()
    ]
    return together(jobs)


# ---- what clients hear -----------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "mechanism"), [(p, m.__name__) for p, m in MECHANISMS])
def test_the_reply_depends_on_the_shape_alone(heard: list[Heard], protocol: str, mechanism: str) -> None:
    """Threat 25: exact lines, the same for every class; nothing tells an account that exists from one that does not."""
    code = {"imap": "t NO [AUTHENTICATIONFAILED]", "smtp": ""}[protocol]
    for one in heard:
        if (one.protocol, one.mechanism) != (protocol, mechanism):
            continue
        text = NOT_ACCEPTED if one.case in SHAPED else NOT_APP_PASSWORD
        if protocol == "imap":
            assert one.lines == [f"* OK [ALERT] {text}", f"{code} {text}"], one.case
        else:
            assert one.lines == [f"{'535 5.7.8' if one.case in SHAPED else '534 5.7.9'} {text}"], one.case


def test_no_answer_comes_before_its_time(heard: list[Heard]) -> None:
    """Threat 26: a refusal is released 1 s after the attempt, whatever it took to find it."""
    assert {one.case for one in heard} >= set(SHAPED)
    for one in heard:
        assert 0.98 < one.seconds < 6, one


def test_nobody_was_contacted(office: Stand, heard: list[Heard]) -> None:
    assert heard
    office.unharmed()


def test_in_the_clear_a_right_app_password_is_refused_and_flagged(office: Stand) -> None:
    """Threat 4."""
    imap = office.talk("imap", "starttls", source="127.0.6.9")
    assert imap.imap(f"LOGIN {ALICE} {office.right}") == ["t NO [PRIVACYREQUIRED] TLS is required before login"]
    smtp = office.talk("smtp", "starttls", source="127.0.6.9")
    smtp.smtp("EHLO x")
    said = smtp.smtp(f"AUTH PLAIN {plain(ALICE, office.right)}")
    assert said == ["530 5.7.0 Must issue a STARTTLS command first"]
    wait_until(lambda: office.gate.log().count("reason=tls_required") >= 2, "lines about secrets in the clear")
    office.unharmed()


# ---- what the operator is told ---------------------------------------------------------------


def test_why_names_the_true_reason(office: Stand, tried: dict[str, dict[str, Case]], heard: list[Heard]) -> None:
    for account in (ALICE, BOB, OFF):
        expected = {
            (protocol, case.reason) for protocol in tried for case in tried[protocol].values() if case.name == account
        }

        def seen() -> set[tuple[str, str]]:
            return {(row["protocol"], row["reason"]) for row in office.gate.json("why", account)}  # noqa: B023

        wait_until(lambda: seen() >= expected, f"{expected} in why {account}")  # noqa: B023
    words = office.gate.cli("why", ALICE).stdout
    assert "old phone" in words
    assert URL not in words
    assert office.gate.cli("why", "nobody@example.org").returncode == 1


def test_the_log_names_the_true_reason(office: Stand, tried: dict[str, dict[str, Case]], heard: list[Heard]) -> None:
    wait_until(lambda: office.gate.log().count("reason=not_app_password_name") >= 2, "the counted refusals in the log")
    lines = [line for line in office.gate.log().splitlines() if 'event="login refused"' in line]
    for protocol, table in tried.items():
        for label, case in table.items():
            who = f"user=<{case.name}>" if case.name in (ALICE, BOB, OFF) else "user=<?>"
            assert any(
                f"reason={case.reason} " in line and f"protocol={protocol} " in line and f"{who} " in line
                for line in lines
            ), (protocol, label)


def test_the_audit_has_every_class_and_is_whole(
    office: Stand, tried: dict[str, dict[str, Case]], heard: list[Heard]
) -> None:
    """The core is ended first: what is summed up by the minute is written then."""
    old = office.signal_child("core", signal.SIGTERM)
    wait_until(lambda: office.children()["core"] not in ([], [old]), "another core")
    wait_until(lambda: office.gate.cli("audit", "--json").returncode == 0, "the new core's API")
    rows = audit(office)
    single = {(row["protocol"], row["account"], row["reason"]) for row in rows if row["event"] == "login_refused"}
    summed = {(row["protocol"], row["account"], row["reason"]) for row in rows if row["event"] == "logins_refused"}
    for protocol, table in tried.items():
        for label, case in table.items():
            account = case.name if case.name in (ALICE, BOB, OFF) else None
            assert (protocol, account, case.reason) in (single if label in SHAPED else summed), (protocol, label)
    exposed = [row for row in rows if row["event"] == "exposed_in_clear"]
    assert {(row["protocol"], row["network"]) for row in exposed} == {
        ("imap", "127.0.6.9/32"),
        ("smtp", "127.0.6.9/32"),
    }
    verified = office.gate.cli("audit", "--verify")
    assert verified.returncode == 0, verified.stderr


def audit(stand: Stand) -> list[dict[str, str | None]]:
    import json

    done = stand.gate.cli("audit", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
