"""Mails, handed to real servers that take them, refuse them, or misbehave."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import trustme

from proxy.config.settings import Address, BackendTls, Mail
from proxy.notices.mailer import Mailer, Posted, Unsendable, is_address, written
from tests.notices.post_office import SENDER, login_of, post_office, read

TO = "alice@example.org"
DATE = "Tue, 24 Nov 2026 15:59:00 +0000"


def send(settings: Mail, to: str = TO, *, name: str = "Example Mail", **more: float) -> tuple[Posted, str]:
    mailer = Mailer(settings, name, "login.example.org", **more)
    return asyncio.run(mailer.send(to, "New sign-in", "Hello.\n.\nBye.\n", message_id="1.ab@example.org", date=DATE))


def test_a_mail_as_it_arrives() -> None:
    with post_office() as office:
        assert send(office.settings()) == (Posted.TAKEN, "")
        ((to, raw),) = office.taken
    mail = read(raw)
    assert to == TO
    assert {key: str(value) for key, value in mail.items()} == {
        "From": "Example Mail <sidegate@example.org>",
        "To": TO,
        "Subject": "New sign-in",
        "Date": DATE,
        "Message-ID": "<1.ab@example.org>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
        "MIME-Version": "1.0",
    }
    assert mail.get_content().replace("\r\n", "\n") == "Hello.\n.\nBye.\n"


def test_a_site_may_have_any_name() -> None:
    with post_office() as office:
        send(office.settings(), name='Correo "de Álava", S. A.')
        (mail,) = office.mails
    (address,) = mail["from"].addresses
    assert (address.display_name, address.addr_spec) == ('Correo "de Álava", S. A.', SENDER)


@pytest.mark.parametrize(
    ("command", "reply", "posted"),
    [
        ("RCPT", "550 5.1.1 nobody", Posted.REFUSED),
        ("RCPT", "451 4.2.0 greylisted", Posted.LATER),
        ("RCPT", "421 4.3.2 closing", Posted.FAILED),
        ("DATA", "554 5.7.1 spam", Posted.REFUSED),
        ("DATA", "452 4.3.1 full", Posted.FAILED),
        # Our sender is wrong, not this recipient: the operator's to mend, and every other mail fails as well.
        ("MAIL", "550 5.7.1 not you", Posted.FAILED),
        ("MAIL", "421 4.3.2 closing", Posted.FAILED),
        # It has the mail, and how it says good-bye changes nothing: a second try would be a second mail.
        ("QUIT", "421 4.3.2 closing", Posted.TAKEN),
    ],
)
def test_refusals(command: str, reply: str, posted: Posted) -> None:
    with post_office() as office:
        office.replies[command] = reply
        assert send(office.settings()) == (posted, "" if posted is Posted.TAKEN else reply)
        assert len(office.taken) == (posted is Posted.TAKEN)


@pytest.mark.parametrize("tls", [BackendTls.STARTTLS, BackendTls.IMPLICIT])
def test_the_certificate_is_verified(tls: BackendTls, tmp_path: Path) -> None:
    ca, other = trustme.CA(), trustme.CA()
    for name, authority in (("ca", ca), ("other", other)):
        authority.cert_pem.write_to_path(tmp_path / f"{name}.pem")
    with post_office(tls=tls, certificate=ca.issue_cert("127.0.0.1"), login=("me", "hush")) as office:
        good = office.settings(tls=tls, ca=tmp_path / "ca.pem", **login_of("me", "hush"))
        assert send(good) == (Posted.TAKEN, "")
        posted, why = send(office.settings(tls=tls, ca=tmp_path / "other.pem", **login_of("me", "hush")))
        assert posted is Posted.FAILED
        assert "certificate" in why
        posted, why = send(office.settings(tls=tls, ca=tmp_path / "ca.pem", **login_of("me", "wrong")))
        assert (posted, why[:3]) == (Posted.FAILED, "535")
        assert "wrong" not in why
        assert len(office.taken) == 1
    with post_office(tls=tls, certificate=ca.issue_cert("mail.example.org")) as office:
        posted, why = send(office.settings(tls=tls, ca=tmp_path / "ca.pem"))
        assert posted is Posted.FAILED
        assert "127.0.0.1" in why
        assert office.tried == []


def test_nothing_is_sent_in_the_clear_where_starttls_is_missing(tmp_path: Path) -> None:
    with post_office() as office:
        posted, why = send(office.settings(tls=BackendTls.STARTTLS))
        assert (posted, "STARTTLS" in why) == (Posted.FAILED, True)
        assert office.tried == []


def test_a_server_that_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    posted, why = send(Mail(SENDER, Address("127.0.0.1", port), BackendTls.NONE))
    assert posted is Posted.FAILED
    assert "refused" in why


def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Mail(SENDER, Address("127.0.0.1", silent.getsockname()[1]), BackendTls.NONE)
        posted, why = send(settings, step=0.2)
        assert (posted, "timed out" in why) == (Posted.FAILED, True)
        posted, why = send(settings, within=0.2)
        assert (posted, why) == (Posted.FAILED, "SMTPServerDisconnected: Connection unexpectedly closed")


def test_who_stops_waiting_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Mail(SENDER, Address("127.0.0.1", silent.getsockname()[1]), BackendTls.NONE)

        async def run() -> None:
            sending = asyncio.create_task(Mailer(settings, "x", "x").send(TO, "s", "b", message_id="1@x", date=DATE))
            connection, _ = await asyncio.to_thread(silent.accept)
            sending.cancel()
            with connection:
                connection.settimeout(30)
                assert await asyncio.to_thread(connection.recv, 1) == b""

        asyncio.run(run())


@pytest.mark.parametrize(
    "address",
    [
        "alice@example.org\r\nRCPT TO:<eve@example.net>",
        "alice@example.org\nBcc: eve@example.net",
        "alice@example.org, eve@example.net",
        "<alice@example.org>",
        "alice",
        "@example.org",
        "alice@",
        "Alice@example.org",
        "ali ce@example.org",
        '"a"@example.org',
        "example\\alice@x",
        "uid=alice,dc=example@org",
        "alice@exämple.org",
        "alice@example.org\x00",
        "",
    ],
)
def test_only_addresses_in_the_one_spelling_are_mailed_to(address: str) -> None:
    assert not is_address(address)
    with post_office() as office:
        with pytest.raises(Unsendable):
            send(office.settings(), address)
        assert office.tried == []


def test_what_cannot_stand_in_a_header_is_no_mail() -> None:
    for subject, name, message_id in (("a\r\nBcc: x@y.z", "n", "1@x"), ("s", "n\nBcc: x@y.z", "1@x")):
        with pytest.raises(Unsendable):
            written(SENDER, name, TO, subject, "body", message_id, DATE)
