"""A client's TLS handshake, after a look at what it offers."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from proxy.fronts.client_hello import MAX_HELLO, NO_OVERLAP_ALERT, Hello, read_hello
from proxy.fronts.descriptor import Leg


def accept_tls(leg: Leg, context: ssl.SSLContext, alpn: frozenset[bytes], done: Callable[[], None]) -> None:
    """Wait for the handshake and call `done` when it stands. A failed one loses the leg.

    The ssl module selects an application protocol but cannot refuse a client whose offers match nothing, so the
    ClientHello is read before OpenSSL gets it (ALPACA, https://alpaca-attack.com). What is missing of it is waited for
    in the kernel: nothing may be consumed yet, and a level-triggered loop would spin on a half of it.
    """
    waited_for = 1

    def look() -> None:
        nonlocal waited_for
        seen = leg.peek(MAX_HELLO)
        if seen is None:
            return
        if len(seen) < waited_for:
            leg.lose("closed during the TLS handshake")
            return
        hello = read_hello(seen, alpn)
        if isinstance(hello, int):
            waited_for = hello
            leg.wake_at(hello)
            return
        if waited_for > 1:
            leg.wake_at(1)
        match hello:
            case Hello.GOOD:
                leg.accept_tls(context, done)
            case Hello.NO_OVERLAP:
                leg.discard(len(seen))  # or closing would be a reset that overtakes the alert
                leg.send(NO_OVERLAP_ALERT)
                leg.lose("no application protocol in common")
            case Hello.NOT_TLS:
                leg.lose("not a TLS handshake")

    leg.watch(look)
