"""Handing a mail to the server of `portal.mail`.

smtplib, which nothing that clients or backends speak to may use (docs/decisions/0012-mails-by-smtplib.md), in a thread
for each mail. Addresses are taken in our canonical form only: nothing in them can end a line.
"""

from __future__ import annotations

import asyncio
import smtplib  # noqa: TID251 - see above
import socket
import ssl
from concurrent.futures import Future
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from enum import StrEnum
from threading import Thread

from proxy.config.settings import BackendTls, Mail
from proxy.domain.login_names import canonical

STEP = 15.0
"""Seconds that a server may take for one reply."""
WITHIN = 60.0
"""Seconds for all of it: a server that sends a byte now and then holds nobody for longer."""


class Posted(StrEnum):
    """What became of a mail."""

    TAKEN = "taken"
    REFUSED = "refused"
    """This one, for good: nobody is there under that address."""
    LATER = "later"
    """This one, for now: greylisting, or a full mailbox."""
    FAILED = "failed"
    """The server cannot now, or not for us: another try may help, and every other mail fails as well."""


class Unsendable(ValueError):
    """An address, a subject or a sender that cannot be meant."""


class Mailer:
    """One server. A new one is made for another configuration."""

    def __init__(self, settings: Mail, name: str, hostname: str, *, step: float = STEP, within: float = WITHIN) -> None:
        """`name`: of the site, in From; `hostname`: what we call ourselves. OSError if the certificates of `ca` cannot
        be loaded."""
        self._settings = settings
        self._name = name
        self._hostname = hostname
        self._step = step
        self._within = within
        self._context = None if settings.tls is BackendTls.NONE else ssl.create_default_context(cafile=settings.ca)

    async def send(self, to: str, subject: str, body: str, *, message_id: str, date: str) -> tuple[Posted, str]:
        """Mail this; the text says why not, for the log. Unsendable if `to` is none of our addresses.

        `message_id`: without brackets, the same for each try, so that one that arrives twice is seen as one. `date`:
        as RFC 5322 writes it.
        """
        raw = written(self._settings.sender, self._name, to, subject, body, message_id, date)
        under_way: list[smtplib.SMTP] = []
        outcome: Future[tuple[Posted, str]] = Future()
        # A daemon: a process that ends does not wait for a server that says nothing.
        Thread(target=self._post, args=(to, raw, under_way, outcome), name="mail", daemon=True).start()
        job = asyncio.wrap_future(outcome)
        try:
            done, _ = await asyncio.wait([job], timeout=self._within)
        finally:
            if not job.done():
                for client in under_way:
                    _hang_up(client)
        if not done:
            done, _ = await asyncio.wait([job], timeout=1.0)
        return job.result() if done else (Posted.FAILED, f"took longer than {self._within:g} seconds")

    def _post(self, to: str, raw: bytes, under_way: list[smtplib.SMTP], outcome: Future[tuple[Posted, str]]) -> None:
        """Runs in a thread."""
        outcome.set_running_or_notify_cancel()
        try:
            outcome.set_result(self._converse(to, raw, under_way))
        except BaseException as error:
            outcome.set_exception(error)

    def _converse(self, to: str, raw: bytes, under_way: list[smtplib.SMTP]) -> tuple[Posted, str]:
        settings = self._settings
        client = self._client()
        under_way.append(client)
        try:
            code, text = client.connect(settings.server.host, settings.server.port)
            if code != 220:
                return Posted.FAILED, _told(code, text)
            if settings.tls is BackendTls.STARTTLS:
                client.starttls(context=self._context)
            if settings.password is not None:
                client.login(settings.user, settings.password.reveal())
            client.sendmail(settings.sender, [to], raw)
        except smtplib.SMTPRecipientsRefused as error:
            ((code, text),) = error.recipients.values()
            if code == 421:  # it closes
                return Posted.FAILED, _told(code, text)
            return (Posted.REFUSED if code >= 500 else Posted.LATER), _told(code, text)
        except smtplib.SMTPDataError as error:
            code = error.smtp_code
            return (Posted.REFUSED if code >= 500 else Posted.FAILED), _told(code, error.smtp_error)
        except smtplib.SMTPResponseException as error:  # at STARTTLS, AUTH or MAIL
            return Posted.FAILED, _told(error.smtp_code, error.smtp_error)
        except ssl.SSLCertVerificationError as error:
            return Posted.FAILED, f"its certificate is not good: {error.verify_message}"
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return Posted.FAILED, f"{type(error).__name__}: {error}"[:200]
        else:
            with suppress(smtplib.SMTPException, OSError):  # it has the mail, however it says good-bye
                client.quit()
            return Posted.TAKEN, ""
        finally:
            client.close()

    def _client(self) -> smtplib.SMTP:
        """Not connected yet, so that who waits for it can hang up from then on."""
        if self._settings.tls is BackendTls.IMPLICIT:
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                local_hostname=self._hostname, timeout=self._step, context=self._context
            )
        else:
            client = smtplib.SMTP(local_hostname=self._hostname, timeout=self._step)
        # What its constructor sets where it connects, too: the name that the certificate must carry.
        client._host = self._settings.server.host  # type: ignore[attr-defined]
        return client


def is_address(text: str) -> bool:
    """Whether a mail can go there: an address in the one spelling that the store keeps, which needs no quoting."""
    return "@" in text and not set(text) & set("='/\\") and not text.endswith("@") and canonical(text, "") == text


def written(sender: str, name: str, to: str, subject: str, body: str, message_id: str, date: str) -> bytes:
    """The mail. Unsendable for what cannot stand in a header."""
    if not is_address(to) or not is_address(sender):
        raise Unsendable("no address of ours")
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = Address(display_name=name, addr_spec=sender)
        message["To"] = to
        message["Subject"] = subject
        message["Date"] = date
        message["Message-ID"] = f"<{message_id}>"
    except ValueError as error:
        raise Unsendable(str(error)) from None
    # No answer of a vacation program is wanted (RFC 3834 section 5).
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(body, cte="quoted-printable")
    return message.as_bytes()


def _told(code: int, text: bytes | str) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {''.join(c if c.isprintable() else ' ' for c in shown)}"[:200]


def _hang_up(client: smtplib.SMTP) -> None:
    """The thread that waits for it goes on."""
    sock = client.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
