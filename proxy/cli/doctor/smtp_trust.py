"""What a submission server believes that it should not: XCLIENT from anywhere, and bare line feeds."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from proxy.cli.doctor.finding import Finding, State
from proxy.cli.doctor.talk import Talk, Trouble, talk_to
from proxy.config.settings import Address, Backend, BackendTls

_STRANGER = "203.0.113.7"
"""Of TEST-NET-3 (RFC 5737): no client of anybody."""
_BARE_WAIT = 2.0
"""Seconds: a server that waits for CRLF says nothing to a bare LF."""


def smtp_trust(check: str, backend: Backend, address: Address, context: ssl.SSLContext, name: str) -> Iterator[Finding]:
    """Two findings, or one that says why it could not be tried."""
    try:
        yield _xclient(check, backend, address, context, name)
        yield _bare_lf(check, backend, address, context, name)
    except Trouble as trouble:
        yield Finding(check, State.WARNING, f"{address}: {trouble} while its trust was tried")


def _hello(talk: Talk, backend: Backend, context: ssl.SSLContext, name: str) -> list[str]:
    """Up to the EHLO that counts; returns its keywords."""
    if backend.tls is BackendTls.IMPLICIT:
        talk.start_tls(context, name)
    if talk.smtp_reply()[0] != 220:
        raise Trouble("it does not greet")
    code, offers = talk.smtp("EHLO doctor.invalid")
    if backend.tls is BackendTls.STARTTLS:
        if talk.smtp("STARTTLS")[0] != 220:
            raise Trouble("it does not start TLS")
        talk.start_tls(context, name)
        code, offers = talk.smtp("EHLO doctor.invalid")
    if code != 250:
        raise Trouble("it refuses EHLO")
    return [offer.split()[0].upper() for offer in offers if offer.split()]


def _xclient(check: str, backend: Backend, address: Address, context: ssl.SSLContext, name: str) -> Finding:
    """Postfix asks again whether XCLIENT is allowed once ADDR is given: then a stranger must not have it."""
    with talk_to(backend, address) as talk:
        if "XCLIENT" not in _hello(talk, backend, context, name):
            return Finding(check, State.OK, f"{address} takes no XCLIENT from this host")
        if talk.smtp(f"XCLIENT ADDR={_STRANGER}")[0] != 220:
            return Finding(check, State.OK, f"{address} takes no XCLIENT with another address")
        offers = [text.split()[0].upper() for text in talk.smtp("EHLO doctor.invalid")[1] if text.split()]
    if "XCLIENT" in offers:
        return Finding(
            check,
            State.WARNING,
            f"{address} takes XCLIENT from a client's own address: whoever reaches it can be anybody",
            "list sidegate's address alone in smtpd_authorized_xclient_hosts",
        )
    return Finding(check, State.OK, f"{address} takes XCLIENT from this host and not from clients")


def _bare_lf(check: str, backend: Backend, address: Address, context: ssl.SSLContext, name: str) -> Finding:
    """Where a command may end in a bare LF, a message may too: mail can be smuggled (CVE-2023-51764)."""
    with talk_to(backend, address, _BARE_WAIT) as talk:
        _hello(talk, backend, context, name)
        talk.send(b"NOOP\n")
        try:
            accepted = talk.smtp_reply()[0] == 250
        except Trouble:
            accepted = False
    if accepted:
        return Finding(
            check,
            State.WARNING,
            f"{address} accepts a bare LF as a line end; sidegate lets none through, other ways in may",
            "set smtpd_forbid_bare_newline = yes (Postfix 3.7.9, 3.8.4 or later)",
        )
    return Finding(check, State.OK, f"{address} accepts no bare LF")
