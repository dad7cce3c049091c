"""The vocabulary between protocol machines and the driver.

A machine never performs anything: each method returns the list of events the driver must carry out
in order. Two ends exist, the FrontMachine (a client talks to us) and the BackendMachine (we log in
to a server); where a protocol stays framed after login a FramedRelay sits between both.

Nobody changes an event. They are not frozen because freezing sets every field through object.__setattr__,
which took 4 % of a login's time in Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol as Interface

from proxy.domain.backend_login import BackendLogin
from proxy.domain.model import Credential
from proxy.domain.verdicts import Shown

MAX_PROGRAM_LENGTH = 128


@dataclass(slots=True)
class Send:
    """Write these bytes to the peer of this machine."""

    data: bytes


@dataclass(slots=True)
class StartTls:
    """Start TLS now; whatever was to be sent before stands before it in the list."""


@dataclass(slots=True)
class Attempt:
    """A whole, well-formed login attempt. The machine answers nothing more until refuse() or accept()."""

    login_name: str
    authzid: str
    credential: Credential
    mechanism: str
    """PLAIN, LOGIN or, for the IMAP command, `login`: for the log."""
    service: str = ""
    """LDAP: the service DN, as configured, that the client's name is; empty: none."""


@dataclass(slots=True)
class AttemptRefused:
    """The machine refused an attempt itself (TLS first, undecodable SASL); for log and counting only."""

    shown: Shown
    mechanism: str


@dataclass(slots=True)
class Close:
    """Close this connection once everything sent before is written. `why` is for the log: never client bytes."""

    why: str


class Fault(StrEnum):
    """Whose fault a failed backend login is (Dovecot's login-proxy taxonomy). The client sees the temporary reply."""

    CONNECT = "connect"
    """Refused, timed out, closed, TLS failed."""
    PROTOCOL = "protocol"
    """It said something that has no place here: PREAUTH, bytes behind STARTTLS, UNAUTHENTICATE, rubbish."""
    CREDENTIAL = "credential"
    """It refused sidegate's own credential."""
    UNKNOWN_ACCOUNT = "unknown_account"
    """It does not know the account."""
    SERVICE = "service"
    """It refused the Bind of a service that was passed through: the service's fault, and nobody else's."""
    TEMPORARY = "temporary"
    """It says itself that it cannot now ([LIMIT], [INUSE], [UNAVAILABLE], 4xx)."""


@dataclass(slots=True)
class BackendReady:
    """Logged in. `reply` is what the client may hear (IMAP: the text behind the tag, `OK [CAPABILITY …] Logged in`)."""

    reply: bytes
    offers: frozenset[str] = frozenset()
    """What the backend lists after login, upper case (EHLO keywords with parameters, IMAP capabilities)."""
    login: BackendLogin | None = None
    """LDAP: what the backend took; what requests may do depends on it."""


@dataclass(slots=True)
class BackendRefused:
    """No login. `detail` is for our log; `pass_on` a reply the client may hear as it is, else None."""

    fault: Fault
    detail: str
    pass_on: bytes | None = None


@dataclass(slots=True)
class Offers:
    """A probe's result: what the backend lists before login (behind TLS where configured), upper case."""

    capabilities: frozenset[str]


@dataclass(slots=True)
class ToBackend:
    """From a relay: write to the backend. May be a view of the driver's buffer: valid until the call's list is done."""

    data: bytes | memoryview


@dataclass(slots=True)
class ToClient:
    """From a relay: write to the client. As ToBackend."""

    data: bytes | memoryview


@dataclass(slots=True)
class CloseBackend:
    """From a relay: close the backend leg at once, before anything else in the list goes out."""

    why: str


@dataclass(slots=True)
class LogInAgain:
    """From a relay: this session is over, and `data` begins another login on the same connection (LDAP Bind)."""

    data: bytes


@dataclass(slots=True)
class Counted:
    """From a relay: the backend took this many messages and recipients (for the app password's counters)."""

    messages: int
    recipients: int


FrontEvent = Send | StartTls | Attempt | AttemptRefused | Close
BackendEvent = Send | StartTls | BackendReady | BackendRefused | Offers | Close
RelayEvent = ToBackend | ToClient | CloseBackend | Counted | LogInAgain | Close


class FrontMachine(Interface):
    """The server side, until a login succeeded. One object a connection."""

    program: str | None
    """What the client calls itself so far (clean_program)."""

    def connected(self, *, tls: bool) -> list[FrontEvent]:
        """The connection stands (behind TLS if `tls`): greet."""

    def receive_data(self, data: bytes) -> list[FrontEvent]:
        """Bytes came. While an attempt is pending they are held or refused as DESIGN section 8 says."""

    def tls_started(self) -> list[FrontEvent]:
        """The handshake that StartTls asked for is done: forget everything said in the clear."""

    def refuse(self, shown: Shown, pass_on: bytes | None = None) -> list[FrontEvent]:
        """Refuse the pending attempt, then go on with what was held. `pass_on`: see BackendRefused."""

    def accept(self, ready: BackendReady) -> list[FrontEvent]:
        """Answer the pending attempt: logged in. The machine is finished; trailing_data() is what was held."""

    def trailing_data(self) -> bytes:
        """Client bytes that arrived behind the accepted attempt: they belong to the backend."""

    def timed_out(self) -> list[FrontEvent]:
        """The time to log in is over: say so and close."""


class BackendMachine(Interface):
    """The client side of one backend connection, until it is logged in (or probed). Waits for the greeting itself."""

    state: str
    """Where it stands, in words for the log: banner, starttls, ehlo, xclient, auth …"""

    def connected(self, *, tls: bool) -> list[BackendEvent]:
        """The TCP connection stands (behind implicit TLS if `tls`)."""

    def receive_data(self, data: bytes) -> list[BackendEvent]:
        """Bytes came from the backend."""

    def tls_started(self) -> list[BackendEvent]:
        """The handshake that StartTls asked for is done."""

    def trailing_data(self) -> bytes:
        """Backend bytes behind the login's reply: they belong to the client."""


class ClientObserver(Interface):
    """Listens to the client's bytes of an unframed relay (IMAP) for what DESIGN wants known; never changes them."""

    program: str | None
    compressed: bool
    """COMPRESS was asked for: nothing of ours may enter the stream any more."""

    def observe(self, data: bytes | memoryview) -> bool:
        """Look at client bytes; True when `program` has just become known."""


class FramedRelay(Interface):
    """Sits between client and backend for the whole session (SMTP, LDAP)."""

    hold_client: bool
    """True: do not read from the client for now (it ran ahead of the backend)."""
    awaiting_message_reply: bool
    """The final dot is out, the backend's answer is not in: a cut waits for it, up to 500 ms."""

    @property
    def in_message(self) -> bool:
        """Nothing of ours may be said to the client: a mail has begun and its final dot is not out, or an LDAP answer
        has not come to its end."""

    def client_data(self, data: bytes | memoryview) -> list[RelayEvent]:
        """Bytes came from the client."""

    def backend_data(self, data: bytes | memoryview) -> list[RelayEvent]:
        """Bytes came from the backend."""


class BoundMachine(Interface):
    """Listens to a client that is logged in while nothing was asked of the backend yet (LDAP)."""

    def client_data(self, data: bytes | memoryview) -> list[RelayEvent]:
        """Bytes came. ToBackend is what a backend is needed for from now on, and the machine's last word; so are Close
        and LogInAgain."""


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """What a front machine needs to know of its front; shared by all its connections."""

    portal_url: str
    hostname: str
    starttls: bool
    """The front starts in the clear and offers (and demands) STARTTLS."""
    offers: frozenset[str]
    """What the backend's last probe listed; empty until there was one (then the minimum is advertised)."""
    account_dn: str = ""
    """LDAP: how the DN of an account is made (domain.dn.Template); empty where it is only a stored login name."""
    domains: tuple[str, ...] = ()
    """LDAP: the domains that accounts are in."""
    bind_names: bool = False
    """LDAP: login names are taken in place of DNs."""
    services: tuple[str, ...] = ()
    """LDAP: the DNs of services that may be passed through."""


_UNPRINTABLE = re.compile(r"[^\x20-\x7e]|[\"\\<>]")


def clean_program(raw: str) -> str | None:
    """A program's own name, safe for logs and pages: printable ASCII, at most 128 characters; None if empty."""
    return _UNPRINTABLE.sub("", raw)[:MAX_PROGRAM_LENGTH].strip() or None
