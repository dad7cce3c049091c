"""What workers say on the link, and what they are answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sqlalchemy import Connection

from proxy import logs
from proxy.config.settings import Config
from proxy.core import claims, front_settings, takeover
from proxy.core.census import CensusTaker
from proxy.core.cutting import Cutter
from proxy.core.decide import Decider, Decision, Finding
from proxy.core.memory import Memory
from proxy.core.reports import Reports
from proxy.core.tasks import Tasks
from proxy.domain.backend_login import (
    BackendLogin,
    BearerLogin,
    PlainLogin,
    ProxiedLogin,
    ServiceIdentityLogin,
    ServiceLogin,
    XclientLogin,
)
from proxy.domain.limits import RefusalLimiter
from proxy.domain.login_names import canonical
from proxy.domain.model import (
    Account,
    AppPassword,
    BearerToken,
    ClientInfo,
    Credential,
    LoginAttempt,
    ServiceBind,
)
from proxy.domain.secret import Secret
from proxy.domain.session_table import NOBODY, Session, SessionTable
from proxy.domain.verdicts import Accepted, PassThrough, Reason, Refused, Unavailable
from proxy.link.messages import (
    Accept,
    Ask,
    BackendNews,
    Census,
    CutDone,
    Ended,
    FromPeer,
    Hello,
    Limited,
    LoginSetting,
    Program,
    Refusals,
    Refuse,
    Started,
)
from proxy.link.server import LinkServer, Peer
from proxy.store import accounts
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

MAX_REPORTS = 10
"""Reports of refusals that wait for the store, a worker; it sends one a second."""
MAX_LIMITED = 4096
"""Networks that workers are told are limited: about 100 KiB each time that changes. Of others they say more than they
need to."""

_log = logs.get("core")


class Conversation:
    """The link's handler: questions, sessions, reports."""

    def __init__(
        self,
        *,
        config: Config,
        store: StoreThreads,
        decider: Decider,
        memory: Memory,
        table: SessionTable,
        reports: Reports,
        limiter: RefusalLimiter,
        monotonic: Callable[[], float],
    ) -> None:
        self.config = config
        self.limiter = limiter
        self.link: LinkServer
        self.cutter: Cutter
        self.census: CensusTaker
        """These three speak to workers; set before the first one connects."""
        self.stopping = False
        """The core stops: workers that go now keep their sessions for the next one."""
        self._store = store
        self._decider = decider
        self._memory = memory
        self._table = table
        self._reports = reports
        self._monotonic = monotonic
        self._tasks = Tasks()
        self._limited: list[str] = []
        self._waiting: dict[int, deque[Refusals]] = {}
        """Reports that are to be counted, by worker."""

    # ---- the link's handler ------------------------------------------------------------------

    def hello(self, peer: Peer, message: Hello) -> None:
        if peer.role == "supervisor":
            _log.info("supervisor connected", pid=peer.pid)
            self.cutter.supervised(peer)
            return
        for older in self.link.fronts():
            if older is not peer and older.pid == peer.pid != 0:  # 0: of another PID namespace, as many may be
                older.close("it connected again")
        _log.info("front worker connected", pid=peer.pid, sessions=len(message.sessions), version=message.version)
        if message.sessions:
            kept, cut = takeover.register(self._table, peer, message.sessions)
            self.cutter.back(peer)
            self._tasks.spawn(self._welcome_back(peer, kept, cut))
        else:
            self.cutter.back(peer)
            self._welcome(peer, [])
        if self._limited:
            peer.send(Limited(self._limited))

    def received(self, peer: Peer, message: FromPeer) -> None:
        if peer.role != "front":
            return
        match message:
            case Ask():
                self._asked(peer, message)
            case Started():
                session = self._owned(peer, message.session_id)
                if session is not None:
                    bound, session.live = session.live, True
                    session.backend_address = message.backend
                    session.program = claims.program(message.program) or session.program
                    if not bound:  # else it is `bind_only`, and has now asked for something
                        self._reports.started(session)
            case Ended():
                session = self._owned(peer, message.session_id)
                if session is not None:
                    self._table.end(session.id)
                    self._reports.ended(session, message)
            case Program():
                session = self._owned(peer, message.session_id)
                if session is not None:
                    session.program = claims.program(message.program)
                    self._reports.program(session)
            case Refusals():
                self._take_down(peer, message)
            case CutDone():
                self.cutter.confirmed(peer, message)
            case Census():
                for session in self.census.reported(peer, message.census, message.sessions):
                    self._table.end(session.id)
                    self._reports.lost(session, "ended while the link was down")
            case BackendNews() if message.backend in self.config.backends:
                self._reports.probed(message.backend, message.address, ok=message.ok, detail=message.detail)

    def gone(self, peer: Peer) -> None:
        if peer.role != "front" or self.stopping:
            return
        self.cutter.gone(peer)
        self.census.gone(peer)
        for session in self._table.of_worker(peer.number):
            self._table.end(session.id)
            self._reports.lost(session, "link to the front worker lost")

    async def _welcome_back(self, peer: Peer, kept: list[Session], cut: list[str]) -> None:
        try:
            cut += await takeover.stale(self._store, kept)
        except StoreUnavailable as error:
            _log.error("cannot compare running sessions with the store yet", pid=peer.pid, reason=str(error))
            table, forget = self._table, self._memory.forget
            self._tasks.spawn(
                takeover.compare(self._store, self.cutter, forget, lambda: [s for s in kept if table.get(s.id) is s])
            )
        self._welcome(peer, cut)
        self.census.compare(peer)  # what ended since its Hello is in no report

    def _welcome(self, peer: Peer, cut: list[str]) -> None:
        peer.welcome(front_settings.welcome(self.config, cut))
        self.cutter.welcomed(peer)

    async def stop(self) -> None:
        """The core stops: no question is answered any more, and workers that go now keep their sessions."""
        self.stopping = True
        self.link.close()
        await self._tasks.stop()

    def _owned(self, peer: Peer, session_id: str) -> Session | None:
        """The session, if it is this worker's: no worker can end or rename another's."""
        session = self._table.get(session_id)
        return session if session is not None and session.worker == peer.number else None

    # ---- questions ---------------------------------------------------------------------------

    def _asked(self, peer: Peer, ask: Ask) -> None:
        finding = self._finding(peer, ask)
        if finding is None:
            why = "its front is not in the configuration any more, or its address is none"
            _log.info("login refused", user="?", front=ask.front, rip=ask.address, detail=why, session=ask.session_id)
            peer.send(Refuse(ask.question, Reason.INTERNAL_ERROR))
            return
        try:
            decision = self._decider.at_once(finding)
        except Exception:
            decision = _failed(ask)
        if decision is not None:
            self._answer(peer, ask, finding, decision)
        else:
            self._tasks.spawn(self._look_up(peer, ask, finding))

    async def _look_up(self, peer: Peer, ask: Ask, finding: Finding) -> None:
        decision: Decision
        try:
            decision = await self._decider.by_looking_up(finding)
        except Exception:
            decision = _failed(ask)
        # Nothing waits between the decision (its session is registered) and the answer in the worker's queue.
        self._answer(peer, ask, finding, decision)

    def _answer(self, peer: Peer, ask: Ask, finding: Finding, decision: Decision) -> None:
        if isinstance(decision, Accepted | PassThrough):
            if peer.closed:
                self._table.end(ask.session_id)
                return
            peer.send(_accept(ask, decision))
            if isinstance(decision, Accepted):
                self._reports.accepted(finding, decision)
            return
        limited = isinstance(decision, Refused) and self._limit(finding)
        peer.send(Refuse(ask.question, Reason.LIMITED if limited else decision.reason))
        self._reports.refused(finding, decision, limited=limited)

    def _limit(self, finding: Finding) -> bool:
        """Count a shaped refusal; whether it is answered with the limit reply."""
        if finding.letters is None:
            return False
        now, address = self._monotonic(), finding.attempt.client.address
        name = finding.name or ""
        limited = self.limiter.limited(now, address, name)
        if not finding.secret_known:
            self.limiter.refused(now, address, name, self._memory.digest(0, finding.letters))
        return limited

    def _finding(self, peer: Peer, ask: Ask) -> Finding | None:
        front = next((front for front in self.config.fronts if front.name == ask.front), None)
        if front is None or not claims.is_address(ask.address):
            return None
        program = claims.program(ask.program)
        client = ClientInfo(ask.address, ask.port, ask.local_address, ask.local_port, ask.tls, program)
        credential: Credential | ServiceBind
        if ask.service:
            credential = ServiceBind()
        else:
            credential = BearerToken(Secret(ask.secret)) if ask.bearer else AppPassword(Secret(ask.secret))
        attempt = LoginAttempt(
            session_id=ask.session_id,
            protocol=front.protocol,
            front=front.name,
            backend=front.backend,
            login_name=ask.login_name,
            authzid=ask.authzid,
            credential=credential,
            mechanism=ask.mechanism,
            client=client,
        )
        return Finding(attempt, peer.number)

    def tell_limited(self) -> None:
        """Once a second: tell the workers which networks are limited, when that has changed."""
        networks = self.limiter.limited_networks(self._monotonic())[:MAX_LIMITED]
        if networks != self._limited:
            self._limited = networks
            self.link.to_fronts(Limited(networks))

    def _take_down(self, peer: Peer, message: Refusals) -> None:
        """Count a worker's reports one by one: none takes more than its share of the store's readers."""
        waiting = self._waiting.get(peer.number)
        if waiting is None:
            self._waiting[peer.number] = deque([message])
            self._tasks.spawn(self._count_all(peer.number))
        elif len(waiting) < MAX_REPORTS:
            waiting.append(message)
        else:
            self._reports.uncounted(message.overflow + sum(row.count for row in message.rows))

    async def _count_all(self, worker: int) -> None:
        waiting = self._waiting[worker]
        try:
            while waiting:
                await self._count(waiting.popleft())
        finally:
            del self._waiting[worker]

    async def _count(self, message: Refusals) -> None:
        """Find out which of the names are accounts', then report."""
        refusals, others = claims.refusals(message.rows)
        names = {refusal.row.login_name for refusal in refusals if refusal.row.login_name}
        found: dict[str, Account] = {}
        try:
            if names:
                found = await self._store.read(_accounts_of, names, self.config.default_domain)
        except StoreUnavailable:
            pass  # the rows are still worth their lines, without names
        self._reports.counted(refusals, found)
        if message.overflow or others:
            self._reports.uncounted(message.overflow + others)


def _failed(ask: Ask) -> Unavailable:
    """For an except clause: a bug of ours is a temporary reply."""
    _log.exception("internal error while deciding", session=ask.session_id)
    return Unavailable(Reason.INTERNAL_ERROR)


def _accounts_of(c: Connection, names: set[str], default_domain: str) -> dict[str, Account]:
    found: dict[str, Account] = {}
    for typed in names:
        name = canonical(typed, default_domain)
        account = accounts.by_login_name(c, name) if name is not None else None
        if account is not None:
            found[typed] = account
    return found


def _accept(ask: Ask, decision: Accepted | PassThrough) -> Accept:
    if isinstance(decision, PassThrough):
        login = _on_the_wire(ServiceLogin(decision.service, Secret("")))
        return Accept(ask.question, ask.session_id, NOBODY, NOBODY, 0, login)
    return Accept(
        ask.question,
        ask.session_id,
        decision.account_id,
        decision.app_password_id,
        decision.generation,
        _on_the_wire(decision.login),
    )


def _on_the_wire(login: BackendLogin) -> LoginSetting:
    match login:
        case PlainLogin(authzid, authcid, password):
            return LoginSetting("plain", authzid, authcid, password.reveal())
        case BearerLogin(user, token):
            return LoginSetting("bearer", "", user, token.reveal())
        case XclientLogin(user):
            return LoginSetting("xclient", "", user, "")
        case ProxiedLogin(bind_dn, password, authzid):
            return LoginSetting("proxied", authzid, bind_dn, password.reveal())
        case ServiceIdentityLogin(bind_dn, password, account, bases, attributes):
            secret = password.reveal()
            return LoginSetting("service_identity", account, bind_dn, secret, list(bases), list(attributes))
        case ServiceLogin(dn, password):
            return LoginSetting("service", "", dn, password.reveal())
