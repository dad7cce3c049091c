"""A real SMTP server on loopback, which takes mail, or does what a test wants it to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from threading import Event, Thread
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from proxy.config.settings import Address, BackendTls, Mail
from proxy.domain.secret import Secret

SENDER = "sidegate@example.org"


@dataclass
class PostOffice:
    """What it answers, by command; nothing: as usual."""

    replies: dict[str, str] = field(default_factory=dict)
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    """Recipient and mail, as they came."""
    tried: list[str] = field(default_factory=list)
    """Recipients that were named."""
    something: Event = field(default_factory=Event)
    """Set once it has taken a mail."""
    port: int = 0

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, sender: str, options: Any) -> str:
        envelope.mail_from = sender
        return self.replies.get("MAIL", "250 2.1.0 Ok")

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, to: str, options: Any) -> str:
        self.tried.append(to)
        reply = self.replies.get(f"RCPT {to}", self.replies.get("RCPT", "250 2.1.5 Ok"))
        if reply.startswith("250"):
            envelope.rcpt_tos.append(to)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply = self.replies.get("DATA", "250 2.0.0 Ok")
        if reply.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.taken += [(to, envelope.content) for to in envelope.rcpt_tos]
            self.something.set()
        return reply

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return self.replies.get("QUIT", "221 2.0.0 Bye")

    @property
    def mails(self) -> list[EmailMessage]:
        return [read(raw) for _, raw in self.taken]

    def settings(self, **more: Any) -> Mail:
        return Mail(**{"sender": SENDER, "server": Address("127.0.0.1", self.port), "tls": BackendTls.NONE, **more})


def read(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return message


@contextmanager
def post_office(
    *,
    tls: BackendTls = BackendTls.NONE,
    certificate: trustme.LeafCert | None = None,
    login: tuple[str, str] | None = None,
) -> Iterator[PostOffice]:
    """Open one. `login`: it takes mail from nobody else."""
    office = PostOffice()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
    more: dict[str, Any] = {}
    if login is not None:
        more = {
            "auth_required": tls is BackendTls.STARTTLS,  # of implicit TLS it knows nothing, and would warn
            "auth_require_tls": tls is BackendTls.STARTTLS,
            "authenticator": lambda server, session, envelope, mechanism, data: AuthResult(
                success=(data.login.decode(), data.password.decode()) == login, handled=False
            ),
        }
    if tls is BackendTls.STARTTLS:
        more |= {"tls_context": context, "require_starttls": True}
    implicit = context if tls is BackendTls.IMPLICIT else None
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> asyncio.Server:
        return await loop.create_server(lambda: SMTP(office, loop=loop, **more), "127.0.0.1", 0, ssl=implicit)

    async def close() -> None:
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    office.port = server.sockets[0].getsockname()[1]
    try:
        yield office
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def login_of(user: str, password: str) -> dict[str, Any]:
    return {"user": user, "password": Secret(password)}
