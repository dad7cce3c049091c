"""What differs per protocol, as one table. A front of a new protocol is a row here and a folder in wire/."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as Interface

from proxy.domain.backend_login import BackendLogin
from proxy.domain.model import ClientInfo, Protocol
from proxy.wire.events import (
    BackendMachine,
    BackendReady,
    BoundMachine,
    ClientObserver,
    FramedRelay,
    FrontMachine,
    FrontSettings,
)
from proxy.wire.imap import backend as imap_backend
from proxy.wire.imap import front as imap_front
from proxy.wire.imap import replies as imap_replies
from proxy.wire.imap.observer import ImapObserver
from proxy.wire.ldap import backend as ldap_backend
from proxy.wire.ldap import front as ldap_front
from proxy.wire.ldap import replies as ldap_replies
from proxy.wire.ldap.bound import LdapBound
from proxy.wire.ldap.relay import LdapRelay
from proxy.wire.smtp import backend as smtp_backend
from proxy.wire.smtp import front as smtp_front
from proxy.wire.smtp import replies as smtp_replies
from proxy.wire.smtp.relay import SmtpRelay


class LoginMachine(Interface):
    def __call__(
        self, login: BackendLogin, client: ClientInfo, session_id: str, *, starttls: bool, client_address: str
    ) -> BackendMachine: ...


class ProbeMachine(Interface):
    def __call__(self, *, starttls: bool) -> BackendMachine: ...


@dataclass(frozen=True, slots=True)
class ProtocolKit:
    """The pieces of one protocol that the driver puts together."""

    make_front: Callable[[FrontSettings], Callable[[], FrontMachine]]
    login_machine: LoginMachine
    probe_machine: ProbeMachine
    farewell: Callable[[str], bytes]
    """The protocol's way to say why we close."""
    alpn: frozenset[bytes]
    """Application protocols of ours; a client that offers others only is turned away."""
    observer: Callable[[], ClientObserver] | None
    """Listens to the client's side of an unframed relay."""
    framed: Callable[[BackendReady], FramedRelay] | None
    """The relay of a protocol that stays framed after login."""
    bound: Callable[[], BoundMachine] | None = None
    """Stands in for the relay until something is asked of a backend that is `bind_only`."""
    one_person_a_connection: bool = True
    """False: a program may try the logins of many people on one connection, so that refusals do not end it."""


PROTOCOLS: dict[str, ProtocolKit] = {
    Protocol.IMAP: ProtocolKit(
        make_front=imap_front.make,
        login_machine=imap_backend.login_machine,
        probe_machine=imap_backend.probe_machine,
        farewell=imap_replies.farewell,
        alpn=frozenset({b"imap"}),
        observer=ImapObserver,
        framed=None,
    ),
    Protocol.SMTP: ProtocolKit(
        make_front=smtp_front.make,
        login_machine=smtp_backend.login_machine,
        probe_machine=smtp_backend.probe_machine,
        farewell=smtp_replies.farewell,
        alpn=frozenset({b"smtp"}),
        observer=None,
        framed=lambda ready: SmtpRelay(ready.offers),
    ),
    Protocol.LDAP: ProtocolKit(
        make_front=ldap_front.make,
        login_machine=ldap_backend.login_machine,
        probe_machine=ldap_backend.probe_machine,
        farewell=ldap_replies.farewell,
        alpn=frozenset({b"ldap"}),
        observer=None,
        framed=LdapRelay,
        bound=LdapBound,
        one_person_a_connection=False,
    ),
}
