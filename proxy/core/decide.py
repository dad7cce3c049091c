"""A login attempt -> a verdict.

    name -> account -> tags -> app password -> Argon2 -> registered session -> is it all still so? -> gatekeeper

Everything before the arrow to "registered session" may be remembered (then nothing waits), or has to be looked up and
verified, which waits for other threads. Whatever happened meanwhile, `Memory.changes` tells: a revoke commits, then
forgets, then cuts. A login that looked up before the commit and arrives here before the cut is in the table, so the cut
takes it, and its Accept stands before the Cut in the worker's queue; one that arrives after finds `changes` grown and
looks up again. From registering to queueing the answer nothing waits, so there is no third case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.backends.names import CannotName
from proxy.backends.strategy import LoginStrategy
from proxy.core.memory import Memory
from proxy.core.verifying import Busy, Verifier
from proxy.domain import app_passwords as secrets
from proxy.domain import gatekeeper
from proxy.domain.gatekeeper import LiveSessions, Rules
from proxy.domain.model import Account, AppPassword, AppPasswordRecord, LoginAttempt, ServiceBind
from proxy.domain.session_table import NOBODY, Session, SessionTable
from proxy.domain.verdicts import Accepted, PassThrough, Reason, Refused, Unavailable
from proxy.store import candidates
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

MAX_LOOKING = 512
"""Attempts that wait for store and hash at once; beyond them the answer is busy, and warm logins go on."""
MAX_ROUNDS = 8
"""Look-ups for one login while something changes under it; then the answer is busy."""

_ID_TAKEN = Unavailable(Reason.INTERNAL_ERROR, "a front worker used a session id twice")

Decision = Accepted | PassThrough | Refused | Unavailable


@dataclass(slots=True)
class Finding:
    """What was found out about one attempt; filled in on the way, so that log and history know how far it came."""

    attempt: LoginAttempt
    worker: int
    name: str | None = None
    """The canonical login name."""
    letters: str | None = field(default=None, repr=False)
    """The secret's, if it is shaped like an app password."""
    account: Account | None = None
    app_password: AppPasswordRecord | None = None
    """The one that the secret verified against."""

    @property
    def secret_known(self) -> bool:
        """The secret is or was a right one: whatever speaks against the login, nobody is guessing."""
        return self.app_password is not None


class Decider:
    """Decides attempts. All state it touches belongs to the loop's thread."""

    def __init__(
        self,
        *,
        store: StoreThreads,
        peppers: Mapping[int, bytes],
        verifier: Verifier,
        memory: Memory,
        table: SessionTable,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._peppers = dict(sorted(peppers.items(), reverse=True))
        self._verifier = verifier
        self._memory = memory
        self._table = table
        self._clock = clock
        self._looking = 0
        self.rules = Rules("", frozenset(), 0, 0)
        self.strategies: Mapping[str, LoginStrategy] = {}
        """By backend; with `rules`, set by every (re)load of the configuration."""

    def at_once(self, finding: Finding) -> Decision | None:
        """The verdict, if nothing has to be looked up: no thread, no SQL. None: ask `by_looking_up`."""
        attempt = finding.attempt
        if isinstance(attempt.credential, ServiceBind):
            return self._pass_through(finding)
        name = gatekeeper.name_to_look_up(attempt, self.rules)
        if isinstance(name, Refused):
            return name
        finding.name = name
        assert isinstance(attempt.credential, AppPassword)
        finding.letters = secrets.normalize(attempt.credential.secret.reveal())
        if finding.letters is None:
            return Refused(Reason.NOT_APP_PASSWORD)
        finding.account = account = self._memory.account(name)
        if account is None:
            return None
        digest = self._memory.digest(account.id, finding.letters)
        finding.app_password = self._memory.verified(account, digest)
        return None if finding.app_password is None else self._conclude(finding)

    async def by_looking_up(self, finding: Finding) -> Decision:
        """The verdict from store and hash. Registers the session of an Accepted before it returns."""
        assert finding.letters is not None
        if self._looking >= MAX_LOOKING:
            return Unavailable(Reason.BUSY, "too many logins wait for the store")
        self._looking += 1
        try:
            for _ in range(MAX_ROUNDS):
                changes = self._memory.changes
                await self._look_up(finding, finding.letters)
                if self._memory.changes == changes:
                    self._remember(finding, finding.letters)
                    return self._conclude(finding)
        except StoreUnavailable as error:
            return Unavailable(Reason.STORE_UNAVAILABLE, str(error))
        except Busy:
            return Unavailable(Reason.BUSY, "too many app passwords wait for verification")
        finally:
            self._looking -= 1
        return Unavailable(Reason.BUSY, "accounts and app passwords change faster than they can be read")

    async def _look_up(self, finding: Finding, letters: str) -> None:
        assert finding.name is not None
        finding.account = finding.app_password = None
        finding.account, found = await self._store.read(candidates.of_attempt, finding.name, letters, self._peppers)
        for candidate in found:
            digest = self._memory.digest(candidate.account_id, letters)
            if self._is_known(candidate, digest) or await self._verifier.verify(candidate, letters, digest):
                finding.app_password = candidate
                return

    def _is_known(self, candidate: AppPasswordRecord, digest: bytes) -> bool:
        """Another login has verified the same secret against the same hash while this one was reading."""
        return self._memory.hash_of(candidate, digest) == candidate.hash

    def _remember(self, finding: Finding, letters: str) -> None:
        account, record = finding.account, finding.app_password
        if account is not None and finding.name is not None:
            self._memory.remember_account(finding.name, account)
            if record is not None:
                self._memory.remember_verified(account, record, self._memory.digest(account.id, letters))

    def _conclude(self, finding: Finding) -> Decision:
        """Register, weigh, and take back what is not accepted. Waits for nothing: see the module's text."""
        account, record = finding.account, finding.app_password
        if account is None:
            return Refused(Reason.UNKNOWN_ACCOUNT)
        if record is None:
            return self._weigh(finding, LiveSessions(0, 0))
        live = LiveSessions(self._table.count_app_password(record.id), self._table.count_account(account.id))
        if not self._register(self._session(finding, account, record)):
            return _ID_TAKEN
        decision: Decision | None = None
        try:
            decision = self._weigh(finding, live)
        finally:
            if not isinstance(decision, Accepted):
                self._table.end(finding.attempt.session_id)
        return decision

    def _pass_through(self, finding: Finding) -> Decision:
        attempt = finding.attempt
        decision = gatekeeper.pass_through(attempt, self.rules)
        if isinstance(decision, PassThrough) and not self._register(self._session(finding, decision.service, None)):
            return _ID_TAKEN
        return decision

    def _register(self, session: Session) -> bool:
        """False: its id is taken."""
        try:
            self._table.register(session)
        except ValueError:
            return False
        return True

    def _weigh(self, finding: Finding, live: LiveSessions) -> Decision:
        attempt = finding.attempt
        strategy = self.strategies.get(attempt.backend)
        if strategy is None:
            return Unavailable(Reason.INTERNAL_ERROR, "the front's backend is not in the configuration any more")
        try:
            return gatekeeper.decide(
                attempt,
                self.rules,
                account=finding.account,
                app_password=finding.app_password,
                live=live,
                now=self._clock(),
                login=strategy,
            )
        except CannotName as error:
            return Unavailable(Reason.INTERNAL_ERROR, str(error))

    def _session(self, finding: Finding, account: Account | str, record: AppPasswordRecord | None) -> Session:
        """Of an account, or of a service: then its DN, and no app password."""
        attempt = finding.attempt
        return Session(
            id=attempt.session_id,
            worker=finding.worker,
            account_id=NOBODY if isinstance(account, str) else account.id,
            account=account if isinstance(account, str) else account.address,
            app_password_id=NOBODY if record is None else record.id,
            app_password=None if record is None else record.name,
            generation=0 if record is None else record.generation,
            protocol=attempt.protocol,
            backend=attempt.backend,
            client=attempt.client,
            started=self._clock(),
            mechanism=attempt.mechanism,
            program=attempt.client.program,
        )
