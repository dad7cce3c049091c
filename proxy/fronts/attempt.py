"""One login attempt, from the shape of its secret to the backend's OK or the refusal that the client hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.domain.app_passwords import normalize
from proxy.domain.backend_login import (
    BackendLogin,
    BearerLogin,
    PlainLogin,
    ProxiedLogin,
    ServiceIdentityLogin,
    ServiceLogin,
    XclientLogin,
)
from proxy.domain.model import AppPassword, BearerToken
from proxy.domain.secret import Secret
from proxy.domain.verdicts import SHOWN, Reason, Shown
from proxy.fronts.login import BackendConnection, LoggedIn, Outcome
from proxy.fronts.refusals import could_be_login_name
from proxy.fronts.sessions import Parting, Session
from proxy.link.client import Answer
from proxy.link.messages import MAX_SESSIONS, Accept, Ask, Ended, LoginSetting
from proxy.wire.events import Attempt, BackendMachine, BackendRefused, Fault
from proxy.wire.proxy_protocol import encode_v2

if TYPE_CHECKING:
    from proxy.fronts.connection import Connection


SERVICE_DELAY = 0.1
"""Seconds until a refusal at most, for a client in a network of service_accounts."""


class PendingAttempt:
    """Between a client's Attempt and our answer. Ends with connection.accepted() or connection.refused(), once."""

    __slots__ = ("_backend", "_connection", "_due", "_over", "_question", "_service", "_session", "releasing")

    def __init__(self, connection: Connection) -> None:
        worker = connection.worker
        self._connection = connection
        self._due = worker.loop.time() + _refusal_delay(connection)
        self._question = 0
        self._session: Session | None = None
        self._backend: BackendConnection | None = None
        self._service: ServiceLogin | None = None
        """The Bind to pass through, if the core says so."""
        self._over = False
        self.releasing = False
        """Refused; the answer only waits for its time."""

    # ---- the decision ------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Ask the core, if the secret could be right at all, or is a service's, from where that may come from."""
        connection = self._connection
        credential = attempt.credential
        if attempt.service and isinstance(credential, AppPassword):
            networks = connection.front.backend.services.get(attempt.service)
            if networks is not None and connection.client.address in networks:
                self._service = ServiceLogin(attempt.service, credential.secret)
                self._ask(attempt, attempt.service, "", bearer=False)
                return
        bearer = isinstance(credential, BearerToken)
        secret = (
            credential.token.reveal() if isinstance(credential, BearerToken) else normalize(credential.secret.reveal())
        )
        if secret is None:
            if attempt.service:
                reason = Reason.SERVICE_NETWORK
            elif could_be_login_name(attempt.login_name):
                reason = Reason.NOT_APP_PASSWORD
            else:
                reason = Reason.NOT_APP_PASSWORD_NAME
            connection.count_refusal(
                reason, login_name=attempt.login_name, mechanism=attempt.mechanism, detail=attempt.service
            )
            self._refuse(SHOWN[reason])
            return
        self._ask(attempt, attempt.login_name, secret, bearer=bearer)

    def _ask(self, attempt: Attempt, login_name: str, secret: str, *, bearer: bool) -> None:
        connection = self._connection
        worker = connection.worker
        if len(worker.sessions) >= MAX_SESSIONS:
            self._unavailable(Reason.BUSY, attempt)
            return
        client = connection.client
        self._question = worker.link.ask(
            Ask(
                0,
                connection.session_id,
                connection.front.name,
                connection.front.protocol,
                login_name,
                attempt.authzid,
                bearer,
                secret,
                attempt.mechanism,
                client.address,
                client.port,
                client.local_address,
                client.local_port,
                client.tls,
                connection.machine.program,
                self._service is not None,
            ),
            lambda answer: self._answered(answer, attempt),
        )

    def _answered(self, answer: Answer, attempt: Attempt) -> None:
        if self._over:
            return
        self._question = 0
        if isinstance(answer, Accept):
            self._log_in(answer)
        elif answer is None:
            self._connection.renew_session_id()  # its Accept may still come, and end
            self._unavailable(Reason.CORE_UNAVAILABLE, attempt)
        else:
            try:
                shown = SHOWN[Reason(answer.reason)]
            except ValueError:  # a reason of a newer core
                shown = Shown.UNAVAILABLE
            self._refuse(shown)

    def _unavailable(self, reason: Reason, attempt: Attempt) -> None:
        self._connection.count_refusal(reason, login_name=attempt.login_name, mechanism=attempt.mechanism)
        self._refuse(SHOWN[reason])

    # ---- the backend -------------------------------------------------------------------------

    def _log_in(self, accept: Accept) -> None:
        connection = self._connection
        worker, front, client = connection.worker, connection.front, connection.client
        backend = front.backend
        info = connection.client_info()
        self._session = Session(
            accept.session_id,
            accept.account_id,
            accept.app_password_id,
            accept.generation,
            front.protocol,
            backend.setting.name,
            info,
            worker.now(),
            self._cut,
        )
        worker.sessions.add(self._session)
        try:
            login = _backend_login(accept.login, self._service)
        except ValueError as error:  # a core of another version
            self._backend_answered(BackendRefused(Fault.PROTOCOL, str(error)))
            return
        how = backend.setting.client_address

        def make() -> BackendMachine:
            return front.kit.login_machine(
                login, info, accept.session_id, starttls=backend.setting.tls == "starttls", client_address=how
            )

        header = encode_v2(client) if how == "proxy_v2" else b""

        def connect(done: Callable[[Outcome], None]) -> BackendConnection:
            return BackendConnection(worker.loop, backend, worker.limits, make, header, done)

        if backend.setting.bind_only and not isinstance(login, ServiceLogin):
            self._over = True
            connection.bound(self._session, connect)
        else:
            self._backend = connect(self._backend_answered)

    def _backend_answered(self, outcome: Outcome) -> None:
        session, self._backend = self._session, None
        if session is None or self._over:
            if isinstance(outcome, LoggedIn):
                outcome.leg.close()
            return
        if isinstance(outcome, LoggedIn):
            self._over = True
            self._connection.accepted(session, outcome)
            return
        if not isinstance(outcome, BackendRefused):
            outcome = BackendRefused(Fault.PROTOCOL, "the login ended without a result")
        self._end_session("backend login failed", outcome)
        self._refuse(Shown.NOT_ACCEPTED if outcome.fault is Fault.SERVICE else Shown.UNAVAILABLE, outcome.pass_on)

    def _end_session(self, why: str, refused: BackendRefused | None = None) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        worker = self._connection.worker
        worker.sessions.remove(session)
        worker.link.report(
            Ended(
                session.id,
                why,
                0,
                0,
                fault=refused.fault if refused is not None else None,
                detail=refused.detail if refused is not None else "",
            )
        )
        self._connection.renew_session_id()

    # ---- its end -----------------------------------------------------------------------------

    def _refuse(self, shown: Shown, pass_on: bytes | None = None) -> None:
        """Release the refusal a constant time after the attempt, so that its timing tells nothing."""
        self.releasing = True
        self._connection.worker.loop.call_at(self._due, self._release, shown, pass_on)

    def _release(self, shown: Shown, pass_on: bytes | None) -> None:
        if not self._over:
            self._over = True
            self._connection.refused(shown, pass_on)

    def _cut(self, why: Parting, closed: Callable[[], None]) -> None:
        """While the backend was being asked. Only a revoke may call the app password wrong: clients forget it then."""
        self._close_backend()
        self._end_session(why)
        closed()
        self._refuse(Shown.NOT_ACCEPTED if why is Parting.REVOKED else Shown.UNAVAILABLE)

    def abandon(self, why: str) -> None:
        """The client is gone."""
        self._over = True
        if self._question:
            self._connection.worker.link.forget(self._question)
        self._close_backend()
        self._end_session(why)

    def _close_backend(self) -> None:
        if self._backend is not None:
            self._backend.abandon()
            self._backend = None


def _refusal_delay(connection: Connection) -> float:
    """Seconds. Programs that ask for everybody ask one after the other, some of them (Prosody), and must not be held up
    by whoever mistypes."""
    delay, networks = connection.worker.limits.refusal_delay, connection.front.backend.service_networks
    return min(delay, SERVICE_DELAY) if networks and connection.client.address in networks else delay


def _backend_login(setting: LoginSetting, service: ServiceLogin | None) -> BackendLogin:
    match setting.kind:
        case "plain":
            return PlainLogin(setting.authzid, setting.authcid, Secret(setting.secret))
        case "bearer":
            return BearerLogin(setting.authcid, Secret(setting.secret))
        case "xclient":
            return XclientLogin(setting.authcid)
        case "proxied":
            return ProxiedLogin(setting.authcid, Secret(setting.secret), setting.authzid)
        case "service_identity":
            secret, bases, attributes = Secret(setting.secret), tuple(setting.bases), tuple(setting.attributes)
            return ServiceIdentityLogin(setting.authcid, secret, setting.authzid, bases, attributes)
        case "service" if service is not None and setting.authcid == service.dn:
            return service
        case kind:
            raise ValueError(f"unknown kind of backend login: {kind}")
