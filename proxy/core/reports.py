"""What is told about logins: one log line per attempt, audit records, and the history behind `sidegate why`."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

from proxy import logs
from proxy.core.claims import Refusal
from proxy.core.counting import LineBudget, RefusalSums, SumKey
from proxy.core.decide import Finding
from proxy.core.faults import CURES, FAULT_REASONS
from proxy.core.write_behind import WriteBehind
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import Account, ClientInfo, LastUse, Protocol
from proxy.domain.networks import NetworkSet, network_of
from proxy.domain.session_table import Session
from proxy.domain.verdicts import Accepted, Reason, Refused, Unavailable
from proxy.link.messages import Ended
from proxy.store.history import RefusalRecord
from proxy.wire.events import Fault

FAULT_EVERY = 10.0
"""Seconds between two error lines about one backend and fault; each login that fails on it has its own line anyway."""

_log = logs.get("core")


class Reports:
    """Where verdicts, sessions and refusals become lines and records. `clock`: wall; `monotonic`: for budgets."""

    def __init__(
        self,
        behind: WriteBehind,
        fingerprint_key: bytes,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._behind = behind
        self._key = fingerprint_key
        self._clock = clock
        self._monotonic = monotonic
        self._sums = RefusalSums()
        self._lines = LineBudget(60, 600.0)
        self._shared = NetworkSet([])
        self._faults: dict[tuple[str, str], float] = {}
        self._probes: dict[tuple[str, str], tuple[bool, str]] = {}

    def configure(self, lines: int, window: float, shared_networks: tuple[str, ...]) -> None:
        """As many failure lines per network and window as the limits count refusals; shared networks by name."""
        self._sum_up_lines()
        self._lines = LineBudget(lines, window)
        self._shared = NetworkSet(shared_networks)

    # ---- verdicts ----------------------------------------------------------------------------

    def accepted(self, finding: Finding, verdict: Accepted) -> None:
        """A verdict was given; the line follows when the backend has taken the login, or not."""
        attempt = finding.attempt
        self._behind.audit(
            AuditEvent(
                time=self._clock(),
                event=Event.LOGIN_ACCEPTED,
                actor="client",
                account=verdict.account,
                account_id=verdict.account_id,
                app_password=verdict.app_password,
                protocol=attempt.protocol,
                network=network_of(attempt.client.address),
                detail=attempt.client.program,
            )
        )

    def refused(self, finding: Finding, verdict: Refused | Unavailable, *, limited: bool) -> None:
        """A question was answered with no; `limited`: the client gets the limit reply instead of its reason's, and the
        try has no line and no record of its own."""
        attempt, account, record = finding.attempt, finding.account, finding.app_password
        network = network_of(attempt.client.address)
        key = f"{network} {finding.name}" if attempt.client.address in self._shared else network
        if limited:
            self._lines.hold_back(self._monotonic(), key)
            self._sums.add(
                self._clock(),
                SumKey(
                    network,
                    attempt.protocol,
                    verdict.reason,
                    account.id if account is not None else None,
                    account.address if account is not None else None,
                    record.id if record is not None else None,
                    record.name if record is not None else None,
                    limited=True,
                ),
                1,
            )
            return
        if self._lines.spend(self._monotonic(), key):
            _log.info(
                "login refused",
                **self._who(account, attempt.login_name),
                app_password=record.name if record is not None else None,
                protocol=attempt.protocol,
                method=attempt.mechanism,
                **_client(attempt.client),
                program=attempt.client.program,
                reason=verdict.reason,
                detail=(verdict.detail or None) if isinstance(verdict, Unavailable) else None,
                session=attempt.session_id,
            )
        self._remember(
            account.id if account is not None else None,
            verdict.reason,
            attempt.protocol,
            attempt.client,
            record.id if record is not None else None,
        )
        if isinstance(verdict, Unavailable):
            return
        self._behind.audit(
            AuditEvent(
                time=self._clock(),
                event=Event.LOGIN_REFUSED,
                actor="client",
                account=account.address if account is not None else None,
                account_id=account.id if account is not None else None,
                app_password=record.name if record is not None else None,
                protocol=attempt.protocol,
                network=network,
                reason=verdict.reason,
                detail=attempt.client.program,
            )
        )

    def counted(self, refusals: Sequence[Refusal], accounts: dict[str, Account]) -> None:
        """Refusals that cost no question. `accounts`: what the login names among them lead to."""
        now = self._clock()
        for refusal in refusals:
            row, network = refusal.row, refusal.network
            account = accounts.get(row.login_name)
            self._sums.add(
                now,
                SumKey(
                    network,
                    refusal.protocol,
                    refusal.reason,
                    account.id if account is not None else None,
                    account.address if account is not None else None,
                ),
                row.count,
            )
            key = f"{network} {row.login_name}" if row.address in self._shared else network
            if self._lines.spend(self._monotonic(), key, row.count):
                _log.info(
                    "login refused",
                    **self._who(account, row.login_name),
                    protocol=refusal.protocol,
                    method=row.mechanism or None,
                    rip=row.address,
                    TLS=row.tls,
                    program=refusal.program,
                    reason=refusal.reason,
                    backend=row.backend or None,
                    detail=row.detail or None,
                    count=row.count if row.count > 1 else None,
                    session=row.session_id,
                )
            if account is not None:
                self._behind.refusal(
                    RefusalRecord(
                        account.id,
                        now,
                        refusal.reason,
                        refusal.protocol,
                        network,
                        refusal.program,
                        count=row.count,
                    )
                )

    def uncounted(self, tries: int) -> None:
        """A worker's table of refusals was full."""
        self._sums.add(self._clock(), SumKey("*", "*", Reason.NOT_APP_PASSWORD), tries)
        self._lines.hold_back(self._monotonic(), "*", tries)

    def sum_up(self) -> None:
        """Once a minute: the lines and records that stand for many."""
        self._sum_up_lines()
        for key, total in self._sums.take():
            self._behind.audit(
                AuditEvent(
                    time=total.time,
                    event=_event_of(key.reason),
                    actor="client",
                    account=key.account,
                    account_id=key.account_id,
                    app_password=key.app_password,
                    protocol=key.protocol,
                    network=key.network,
                    reason=key.reason,
                    detail=f"count={total.count} limited" if key.limited else f"count={total.count}",
                )
            )
            if key.limited and key.account_id is not None:
                self._behind.refusal(
                    RefusalRecord(
                        key.account_id,
                        total.time,
                        key.reason,
                        key.protocol,
                        key.network,
                        app_password_id=key.app_password_id,
                        count=total.count,
                    )
                )

    def _sum_up_lines(self) -> None:
        for key, count in self._lines.take():
            network, _, name = key.partition(" ")
            _log.info(
                "logins refused", network=network, count=count, **({"fingerprint": self._print(name)} if name else {})
            )

    # ---- sessions ----------------------------------------------------------------------------

    def started(self, session: Session) -> None:
        """The backend took the login."""
        _log.info(
            "login accepted",
            user=session.account,
            app_password=session.app_password,
            protocol=session.protocol,
            method=session.mechanism,
            **_client(session.client),
            program=session.program,
            backend=session.backend,
            backend_address=session.backend_address,
            session=session.id,
        )
        if session.app_password is None:
            self._behind.audit(
                AuditEvent(
                    time=self._clock(),
                    event=Event.SERVICE_PASSED,
                    actor="client",
                    account=session.account,
                    protocol=session.protocol,
                    network=network_of(session.client.address),
                )
            )
        self._used(session)

    def ended(self, session: Session, message: Ended) -> None:
        """A registered session is over, or came to nothing."""
        if message.messages or message.recipients:
            self._used(session, message.messages, message.recipients)
        if session.live and message.fault is None:
            _log.info(
                "session ended",
                user=session.account,
                app_password=session.app_password,
                protocol=session.protocol,
                rip=session.client.address,
                why=message.why,
                messages=message.messages or None,
                session=session.id,
                **{"in": message.bytes_in, "out": message.bytes_out},
            )
        else:
            self._came_to_nothing(session, message)

    def lost(self, session: Session, why: str) -> None:
        """It is over, or out of our sight, and nobody counted its bytes."""
        _log.info(
            "session ended",
            user=session.account,
            app_password=session.app_password,
            protocol=session.protocol,
            rip=session.client.address,
            why=why,
            session=session.id,
        )

    def program(self, session: Session) -> None:
        """A running session told what program it is."""
        self._used(session)

    def _came_to_nothing(self, session: Session, message: Ended) -> None:
        fault = message.fault
        reason = FAULT_REASONS.get(fault, Reason.BACKEND_UNAVAILABLE) if fault is not None else None
        _log.info(
            "login failed" if fault is not None else "login abandoned",
            user=session.account,
            app_password=session.app_password,
            protocol=session.protocol,
            method=session.mechanism,
            **_client(session.client),
            program=session.program,
            reason=reason,
            backend=session.backend,
            detail=message.detail or None,
            why=message.why,
            session=session.id,
        )
        if fault is None or reason is None:
            return
        if session.app_password is None and fault == Fault.SERVICE:
            return
        self._backend_fault(session, fault, message.detail)
        if session.app_password is not None:
            self._remember(session.account_id, reason, session.protocol, session.client, session.app_password_id)

    # ---- backends ----------------------------------------------------------------------------

    def _backend_fault(self, session: Session, fault: str, detail: str) -> None:
        key = (session.backend, fault if fault != Fault.UNKNOWN_ACCOUNT else f"{fault} {session.account_id}")
        now = self._monotonic()
        if now - self._faults.get(key, -FAULT_EVERY) < FAULT_EVERY:
            return
        if len(self._faults) > 1000:
            self._faults.clear()
        self._faults[key] = now
        cure = CURES.get(fault, CURES[Fault.PROTOCOL])
        _log.error(
            "backend fault",
            backend=session.backend,
            fault=fault,
            detail=detail,
            user=session.account if fault == Fault.UNKNOWN_ACCOUNT else None,
            cure=cure.format(backend=session.backend, account=session.account),
        )

    def probed(self, backend: str, address: str, *, ok: bool, detail: str) -> None:
        """A worker's probe; said once per change, however many workers probe."""
        if self._probes.get((backend, address)) == (ok, detail):
            return
        if len(self._probes) > 1000:
            self._probes.clear()
        self._probes[backend, address] = (ok, detail)
        if ok:
            _log.info("backend answers", backend=backend, address=address, detail=detail or None)
        else:
            cure = CURES[Fault.CONNECT].format(backend=backend, account="")
            _log.error("backend does not answer", backend=backend, address=address, detail=detail, cure=cure)

    # ---- helpers -----------------------------------------------------------------------------

    def _remember(
        self,
        account_id: int | None,
        reason: Reason,
        protocol: Protocol,
        client: ClientInfo,
        app_password_id: int | None,
    ) -> None:
        """A row of `sidegate why`, which is about accounts: what names none has no row."""
        if account_id is not None:
            now = self._clock()
            network = network_of(client.address)
            self._behind.refusal(
                RefusalRecord(account_id, now, reason, protocol, network, client.program, app_password_id)
            )

    def _who(self, account: Account | None, typed: str) -> dict[str, str]:
        """An account is named only if it exists: people type passwords into name fields (DESIGN section 8)."""
        if account is not None:
            return {"user": account.address}
        return {"user": "?", "fingerprint": self._print(typed)} if typed else {"user": "?"}

    def _print(self, typed: str) -> str:
        return hmac.digest(self._key, typed.encode("utf-8", "surrogatepass"), "sha256")[:6].hex()

    def _used(self, session: Session, messages: int = 0, recipients: int = 0) -> None:
        """A service has no app password."""
        if session.app_password is not None:
            use = LastUse(self._clock(), session.client.address, session.protocol, session.program)
            self._behind.used(session.app_password_id, use, messages, recipients)


def _event_of(reason: str) -> Event:
    return Event.EXPOSED_IN_CLEAR if reason == Reason.TLS_REQUIRED else Event.LOGINS_REFUSED


def _client(client: ClientInfo) -> dict[str, str | int | None]:
    return {
        "rip": client.address,
        "rport": client.port,
        "lip": client.local_address,
        "lport": client.local_port,
        "TLS": client.tls,
    }
