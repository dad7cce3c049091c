"""What front workers, supervisor and core say to each other: 4-byte length + one msgpack-encoded struct.

Fields are only ever added at the end with a default, so that a side of version N understands N-1
(DESIGN section 2). Structs with secrets have a blank repr.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec

LINK_VERSION = 1
MAX_MESSAGE = 8 * 1024 * 1024
"""Bytes; a longer frame closes the link."""
MAX_SESSIONS = 20_000
"""Of one worker: what fits a Hello or a Census (about 4 MiB). Descriptors run out before it where there are fewer."""

MAX_ROWS = 1000
"""Of one report of refusals."""

_LENGTH = struct.Struct(">I")
M = TypeVar("M")


class Message(msgspec.Struct, tag=True, array_like=True, gc=False):
    """Base of everything on the link."""


class _Secretive(Message):
    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


# ---- from a front worker: it reads what strangers send, so what it says has bounds -------------

Word = Annotated[str, msgspec.Meta(max_length=512)]
"""A name, an id, an address."""
Text = Annotated[str, msgspec.Meta(max_length=16_384)]
"""What a client typed (a line has 12 KiB at most), or a sentence that quotes a backend."""
Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Time = Annotated[float, msgspec.Meta(ge=0, lt=2**40)]
"""Seconds since the epoch."""


class LiveSession(msgspec.Struct, array_like=True):
    """A session that outlived the core the worker was connected to, or one row of a census."""

    session_id: Word
    account_id: Number
    app_password_id: Number
    generation: Number
    protocol: Word
    backend: Word
    address: Word
    port: Number
    local_address: Word
    local_port: Number
    tls: Word | None
    program: Word | None
    started: Time
    bytes_in: Number
    """From the client."""
    bytes_out: Number
    """To the client."""
    messages: Number = 0
    recipients: Number = 0


Sessions = Annotated[list[LiveSession], msgspec.Meta(max_length=MAX_SESSIONS + 1000)]
"""With room for logins that were under way when the worker was full."""


class Hello(Message):
    """First message of every peer. `role` is front or supervisor; the pid comes from the socket's credentials."""

    version: Number
    role: Word
    sessions: Sessions


class Ask(_Secretive):
    """A login attempt whose secret is shaped like an app password (or a bearer token)."""

    question: Number
    """Numbered by the worker; the Verdict carries it back."""
    session_id: Word
    front: Word
    protocol: Word
    login_name: Text
    authzid: Text
    bearer: bool
    secret: Text
    mechanism: Word
    address: Word
    port: Number
    local_address: Word
    local_port: Number
    tls: Word | None
    program: Word | None
    service: bool = False
    """`login_name` is a service DN of the backend's; the secret stays with the worker."""


class Started(Message):
    """The backend took the login and the client has been told OK."""

    session_id: Word
    backend: Word
    """Address it is connected to, host:port."""
    program: Word | None


class Ended(Message):
    """A session registered by a Verdict is over, or never started (`fault` set: wire.events.Fault)."""

    session_id: Word
    why: Text
    bytes_in: Number
    bytes_out: Number
    messages: Number = 0
    recipients: Number = 0
    fault: Word | None = None
    detail: Text = ""


class Program(Message):
    """A running session told what program it is (IMAP ID after login)."""

    session_id: Word
    program: Word


class RefusalRow(msgspec.Struct, array_like=True):
    """Refusals that cost no question, counted over a second. `login_name` is empty where the bytes cannot be one."""

    protocol: Word
    reason: Word
    network: Word
    address: Word
    """Of the last try."""
    login_name: Text
    program: Word | None
    mechanism: Word
    tls: Word | None
    session_id: Word
    """Of the last try."""
    count: Number
    backend: Word = ""
    detail: Text = ""


class Refusals(Message):
    """At most once a second; `overflow` counts tries that found the table full."""

    rows: Annotated[list[RefusalRow], msgspec.Meta(max_length=MAX_ROWS)]
    overflow: Number


class CutDone(Message):
    """Every session the Cut named is closed here; `count` of them were live."""

    cut: Number
    count: Number


class Census(Message):
    """Answer to TakeCensus: every live session of this worker."""

    census: Number
    sessions: Sessions


class BackendNews(Message):
    """A probe's result: reachable or not, for log and doctor."""

    backend: Word
    address: Text
    ok: bool
    detail: Text


# ---- from the core ---------------------------------------------------------------------------


class TlsFiles(msgspec.Struct, array_like=True):
    """PEM paths that the worker opens itself."""

    certificate: str
    key: str
    names: list[str] = []
    """SNI names this pair serves; the first pair is the default."""


class FrontSetting(msgspec.Struct, array_like=True):
    """One front, secret-free."""

    name: str
    protocol: str
    tls: str
    """implicit | starttls."""
    backend: str
    proxy_protocol_from: list[str]


class ServiceSetting(msgspec.Struct, array_like=True):
    """LDAP: a service DN that is passed through, from these networks."""

    dn: str
    networks: list[str]


class BackendSetting(msgspec.Struct, array_like=True):
    """One backend, secret-free."""

    name: str
    protocol: str
    addresses: list[str]
    """host:port, tried in order."""
    tls: str
    """implicit | starttls | none."""
    ca: str | None
    server_name: str | None
    client_address: str
    """id | xclient | proxy_v2 | none."""
    account_dn: str = ""
    """LDAP: a domain.dn.Template; empty: none, DNs are stored login names."""
    bind_names: bool = False
    """LDAP: login names are taken in place of DNs."""
    domains: list[str] = []
    """Those that accounts are in: what `account_dn` leaves out of a DN."""
    services: list[ServiceSetting] = []
    bind_only: bool = False
    """LDAP: an account's Bind is answered without the backend, which is contacted at the first request."""


class LimitSetting(msgspec.Struct, array_like=True):
    """Limits a front worker holds itself. Seconds and counts."""

    refusal_delay: float = 1.0
    login_timeout: float = 60.0
    handshake_timeout: float = 10.0
    refusals_per_connection: int = 10
    connections_per_network: int = 100
    shared_networks: list[str] = []
    question_timeout: float = 5.0
    connect_timeout: float = 5.0
    backend_timeout: float = 10.0
    probe_interval: float = 300.0


class Welcome(Message):
    """First message to a front worker: its settings, and which of its sessions must go before any verdict."""

    version: int
    hostname: str
    portal_url: str
    tls: list[TlsFiles]
    fronts: list[FrontSetting]
    backends: list[BackendSetting]
    limits: LimitSetting
    cut: list[str]
    """Session ids."""


class Reload(Message):
    """New settings for connections made from now on (SIGHUP)."""

    hostname: str
    portal_url: str
    tls: list[TlsFiles]
    fronts: list[FrontSetting]
    backends: list[BackendSetting]
    limits: LimitSetting


class LoginSetting(msgspec.Struct, array_like=True):
    """A domain.backend_login on the wire: kind plain | bearer | xclient | proxied | service_identity | service.

    Of the last three authcid is the DN to bind as; a service's secret is what its Bind had.
    """

    kind: str
    authzid: str
    authcid: str
    secret: str
    bases: list[str] = []
    attributes: list[str] = []

    def __repr__(self) -> str:
        return "<LoginSetting>"


class Accept(_Secretive):
    """Verdict: log in. The worker indexes the session before it contacts the backend.

    The ids are NOBODY (domain/session_table.py) for a service.
    """

    question: int
    session_id: str
    account_id: int
    app_password_id: int
    generation: int
    login: LoginSetting


class Refuse(Message):
    """Verdict: no. `reason` is a domain.verdicts.Reason (also for "cannot decide now")."""

    question: int
    reason: str


class Cut(Message):
    """Close these now, whatever they do, and confirm within a second. Selectors add up."""

    cut: int
    app_passwords: list[int]
    accounts: list[int]
    sessions: list[str]
    revoked: bool = True
    """False: the app password still holds, only the sessions end."""


class Limited(Message):
    """The networks over a limit just now (whole list): their junk is reported without name and program."""

    networks: list[str]


class TakeCensus(Message):
    """Report every live session, with its bytes so far."""

    census: int


class Kill(Message):
    """To supervisors: this worker did not confirm a cut in time. End it, if it is yours."""

    pid: int
    why: str


FromPeer = Hello | Ask | Started | Ended | Program | Refusals | CutDone | Census | BackendNews
FromCore = Welcome | Reload | Accept | Refuse | Cut | Limited | TakeCensus | Kill

_encoder = msgspec.msgpack.Encoder()
_peer_decoder = msgspec.msgpack.Decoder(FromPeer)
_core_decoder = msgspec.msgpack.Decoder(FromCore)


class LinkError(Exception):
    """The other side sent what no side of any version sends; close the link."""


def encode(message: Message) -> bytes:
    """One frame."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


def _messages(buffer: bytearray, decoder: msgspec.msgpack.Decoder[M]) -> Iterator[M]:
    start, end = 0, len(buffer)
    try:
        while end - start >= 4:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_MESSAGE:
                raise LinkError("frame too long")
            after = start + 4 + length
            if after > end:
                return
            yield decoder.decode(bytes(buffer[start + 4 : after]))
            start = after
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LinkError("undecodable message") from error
    finally:
        del buffer[:start]


def messages_from_peer(buffer: bytearray) -> Iterator[FromPeer]:
    """Every whole message at the front of `buffer`, which is consumed. LinkError on rubbish."""
    return _messages(buffer, _peer_decoder)


def messages_from_core(buffer: bytearray) -> Iterator[FromCore]:
    """As messages_from_peer, for the other direction."""
    return _messages(buffer, _core_decoder)
