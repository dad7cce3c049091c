"""TLS contexts: of the fronts (certificates chosen by SNI) and towards the backends (verified)."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable

from proxy.fronts.descriptor import Leg
from proxy.link.messages import TlsFiles

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and AEAD only (RFC 9325 section 4.2). Those of TLS 1.3 are all of that kind."""


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # A FIN without close_notify is how many clients half-close. Without this OpenSSL 3 takes it for an attack and
    # the answers that are due could not be sent any more. What is cut short is no complete command and does nothing.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_ciphers(CIPHERS)


def server_context(pairs: Iterable[TlsFiles], alpn: Iterable[bytes]) -> ssl.SSLContext:
    """A front's context: the first pair is the default, the others are taken for the names they list
    or, listing none, carry.

    Raises OSError (ssl.SSLError is one) when a file cannot be read or does not fit its key.
    """
    contexts: list[tuple[list[str], ssl.SSLContext]] = []
    for pair in pairs:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _harden(context)
        # Not OpenSSL's two: each costs 2 % of a login. The price: of several connections that a client opens at once
        # with one ticket, TLS 1.3 would have the others do a full handshake; most clients reuse the ticket anyway.
        context.num_tickets = 1
        context.load_cert_chain(pair.certificate, pair.key)
        names = [name.decode("ascii") for name in alpn]
        if names:
            context.set_alpn_protocols(names)
        contexts.append((pair.names or _names_in(pair.certificate), context))
    default = contexts[0][1]
    by_name = {name.lower(): context for names, context in contexts for name in names}
    if len(contexts) > 1 and by_name:
        default.sni_callback = _chooser(by_name)  # type: ignore[assignment]
    return default


def _names_in(certificate: str) -> list[str]:
    """DNS names of the first certificate in a PEM file. (The ssl module offers this only to its own tests.)"""
    decoded = ssl._ssl._test_decode_cert(certificate)  # type: ignore[attr-defined]
    return [name for kind, name in decoded.get("subjectAltName", ()) if kind == "DNS"]


def _chooser(by_name: dict[str, ssl.SSLContext]) -> Callable[[Leg, str | None, ssl.SSLContext], None]:
    def choose(leg: Leg, name: str | None, default: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower()
        context = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
        if context is not None and context is not default:
            leg.choose_context(context)

    return choose


def client_context(ca: str | None) -> ssl.SSLContext:
    """For a backend leg: certificate and name are verified, against `ca` (PEM file) or the system's authorities."""
    context = ssl.create_default_context(cafile=ca)
    _harden(context)
    return context
