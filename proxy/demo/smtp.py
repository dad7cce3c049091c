"""The demo's SMTP backend: aiosmtpd as a submission server that trusts its peer's XCLIENT and delivers into memory."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from email.utils import formatdate, make_msgid
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from proxy.demo.mailbox import Folders
from proxy.domain.secret import Secret

HOSTNAME = "demo.sidegate.invalid"


class SmtpBackend(SMTP):
    """Speaks XCLIENT (Postfix's XCLIENT_README): who is logged in is what LOGIN= said. Besides, there is one login for
    what sidegate itself has to say (portal.mail)."""

    def __init__(
        self,
        accounts: Mapping[str, Folders],
        loop: asyncio.AbstractEventLoop,
        own_name: str = "",
        own: Secret | None = None,
    ) -> None:
        """`own_name`, `own`: name and password of that login."""

        self.login: str | None = None
        self._own_name = own_name
        self._own = own
        super().__init__(
            _Deliver(accounts),
            hostname=HOSTNAME,
            ident="sidegate demo backend",
            loop=loop,
            auth_require_tls=False,
            auth_exclude_mechanism=["LOGIN"],
            authenticator=self._own_login,
        )
        # The class attribute is shared by all connections and grows with every EHLO.
        self.command_size_limits = defaultdict(lambda: 2048)

    def _own_login(
        self, server: object, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        given = Secret(data.password.decode("utf-8", "replace"))
        right = given == self._own and data.login == self._own_name.encode()
        self.login = self._own_name if right else None
        return AuthResult(success=right, handled=False)

    async def smtp_XCLIENT(self, arg: str | None) -> None:
        """Any ADDR, PORT, HELO, … and a LOGIN; the session starts anew with a second greeting."""
        values = {}
        for item in (arg or "").split():
            name, _, value = item.partition("=")
            if not value:
                await self.push("501 5.5.4 Bad XCLIENT syntax")
                return
            values[name.upper()] = _from_xtext(value)
        login = values.get("LOGIN", "[UNAVAILABLE]")
        self.login = None if login == "[UNAVAILABLE]" else login
        assert self.session is not None
        self.session.host_name = None
        self.session.extended_smtp = False
        self._set_rset_state()  # type: ignore[no-untyped-call]
        await self.push(f"220 {self.hostname} {self.__ident__}")


def _from_xtext(text: str) -> str:
    """RFC 3461, section 4: +XX is a byte in hexadecimal."""
    head, *coded = text.split("+")
    return head + "".join(chr(int(piece[:2], 16)) + piece[2:] for piece in coded)


class _Deliver:
    """aiosmtpd's handler: who may send, which recipients exist, where mail goes."""

    def __init__(self, accounts: Mapping[str, Folders]) -> None:
        self._accounts = accounts

    async def handle_EHLO(
        self, server: SmtpBackend, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN", responses[-1]]

    async def handle_MAIL(
        self, server: SmtpBackend, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if server.login is None:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(
        self, server: SmtpBackend, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.lower() not in self._accounts:
            return f"550 5.1.1 No such account here; this demo delivers to {' and '.join(sorted(self._accounts))} only"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SmtpBackend, session: Session, envelope: Envelope) -> str:
        content: Any = envelope.content
        queue_id = make_msgid(domain=HOSTNAME)
        head = (
            f"Return-Path: <{envelope.mail_from}>\r\n"
            f"Received: by {HOSTNAME} (sidegate demo, login {server.login})\r\n\tid {queue_id};\r\n\t{formatdate()}\r\n"
        )
        for address in envelope.rcpt_tos:
            self._accounts[address.lower()].inbox.deliver(head.encode("utf-8", "replace") + content)
        return f"250 2.0.0 Ok: delivered as {queue_id}"
