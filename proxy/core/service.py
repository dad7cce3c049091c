"""The core, put together: built from a configuration, started, reloaded, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import pwd
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn

from proxy import logs
from proxy.admin.desk import Desk, StillOpen
from proxy.backends import strategy
from proxy.backends.keys import Keys
from proxy.config import ConfigErrors, load
from proxy.config.settings import Config
from proxy.core import expiry, front_settings, retention, takeover, write_behind
from proxy.core.census import CensusTaker
from proxy.core.conversation import Conversation
from proxy.core.counting import SUM_EVERY
from proxy.core.cutting import Cutter
from proxy.core.decide import Decider
from proxy.core.kicking import Kicker
from proxy.core.memory import KEY_BYTES, Memory
from proxy.core.reports import Reports
from proxy.core.tasks import Tasks
from proxy.core.verifying import Verifier
from proxy.core.write_behind import WriteBehind
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.gatekeeper import is_listed
from proxy.domain.limits import LimitRules, RefusalLimiter
from proxy.domain.model import AppPasswordRecord, Protocol
from proxy.domain.session_table import SessionTable
from proxy.http_server import Server
from proxy.link.server import LinkServer, listen_on
from proxy.portal.api import make_api
from proxy.portal.api.peer import PeerHttp
from proxy.store import audit, hashing
from proxy.store.engine import Store
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

API_STOPS_WITHIN = 2.0
"""Seconds that requests in progress on admin.sock have when the core stops."""
FLUSH_WITHIN = 5.0
"""Seconds for the last records when the core stops."""

_log = logs.get("core")


class Service:
    """Everything the core consists of; lives on one event loop."""

    def __init__(self, config: Config, keys: Keys, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._keys = keys
        self._loop = loop
        self._store = StoreThreads(store)
        self._store.unheard = self._distrust
        self._table = SessionTable()
        self._memory = Memory(secrets.token_bytes(KEY_BYTES))
        self._verifier = Verifier(hashing.verify)
        self._behind = WriteBehind(self._store, config.node)
        fingerprints = hmac.digest(keys.peppers[min(keys.peppers)], b"log fingerprints", "sha256")
        self._reports = Reports(self._behind, fingerprints, time.time, time.monotonic)
        self._decider = Decider(
            store=self._store,
            peppers=keys.peppers,
            verifier=self._verifier,
            memory=self._memory,
            table=self._table,
            clock=time.time,
        )
        self._conversation = Conversation(
            config=config,
            store=self._store,
            decider=self._decider,
            memory=self._memory,
            table=self._table,
            reports=self._reports,
            limiter=_limiter(config),
            monotonic=time.monotonic,
        )
        self._link = LinkServer(loop, config.run_dir / "link.sock", self._conversation, uids(config))
        self._cutter = Cutter(self._link, self._table, self._memory)
        self._kicker = Kicker(self._store, config.node, time.time)
        census = CensusTaker(self._link, self._table)
        self._conversation.link, self._conversation.cutter, self._conversation.census = self._link, self._cutter, census
        self._desk = Desk(
            store=self._store,
            config=config,
            peppers=dict(keys.peppers),
            node=config.node,
            clock=time.time,
            randbelow=secrets.randbelow,
            sessions=self._table,
            changed=self._memory.forget,
            cut=self._cutter.cut,
            kick=self._kicker.kick,
            census=census.take,
        )
        self._api = _Api(self._desk)
        self._tasks = Tasks()
        self._configure(config)

    def start(self) -> None:
        """Open both sockets and start what runs by the clock. Raises OSError naming the path that cannot be served."""
        if not self._config.run_dir.exists():
            self._config.run_dir.mkdir(parents=True)
            self._config.run_dir.chmod(0o711)  # whatever the umask: fronts of another uid pass through to link.sock
        self._api.start(self._config.run_dir / "admin.sock")
        self._link.listen()
        self._cutter.started()
        self._every(write_behind.VERDICTS_EVERY, self._behind.write_verdicts)
        self._every(write_behind.USES_EVERY, self._behind.write_uses)
        self._every(expiry.EVERY, self._sweep)
        self._every(retention.EVERY, self._prune)
        self._every(SUM_EVERY, _awaitable(self._reports.sum_up))
        self._every(1.0, _awaitable(self._conversation.tell_limited))
        for warning in self._config.warnings:
            _log.warning("configuration", warning=warning)

    async def stop(self) -> None:
        """Finish requests, leave the workers (they keep their sessions for the next core), write what waits."""
        self._desk.stopping.set()
        await self._api.stop()
        await self._conversation.stop()
        await self._tasks.stop()
        await self._kicker.stop()
        self._reports.sum_up()
        try:
            async with asyncio.timeout(FLUSH_WITHIN):
                await self._behind.write_verdicts()
                await self._behind.write_uses()
        except TimeoutError:
            _log.error("the last records could not be written in time")
        self._verifier.close()
        await self._store.close()

    def reload(self) -> None:
        """Take the configuration anew (SIGHUP). A broken one is reported whole, and the old one stays."""
        try:
            config = load(self._config.path, certificates=False, directory=False)
        except ConfigErrors as errors:
            for error in errors.errors:
                _log.error("the new configuration is not taken", error=str(error))
            return
        for fixed in ("store", "state_dir", "run_dir", "node", "link_users"):
            if getattr(config, fixed) != getattr(self._config, fixed):
                _log.warning("this change of the configuration needs a restart", key=fixed)
        for warning in config.warnings:
            _log.warning("configuration", warning=warning)
        if (config.limits, config.shared_networks()) != (self._config.limits, self._config.shared_networks()):
            self._conversation.limiter = _limiter(config)
        self._config = config
        self._configure(config)
        self._link.to_fronts(front_settings.reload(config))
        _log.info("configuration reloaded", path=str(config.path))
        self._tasks.spawn(self._record_reload())
        self._tasks.spawn(self._cut_unlisted())

    def _configure(self, config: Config) -> None:
        limits = config.limits
        self._desk.config = self._conversation.config = config
        self._kicker.configure(config)
        self._decider.rules = config.rules()
        self._decider.strategies = {
            name: strategy.make(backend, self._keys, time.time) for name, backend in config.backends.items()
        }
        self._reports.configure(limits.shaped_per_network, limits.window, config.shared_networks())

    async def _record_reload(self) -> None:
        event = AuditEvent(time=time.time(), event=Event.CONFIG_RELOADED, actor="sidegate")
        try:
            await self._store.write(audit.append, self._config.node, [event])
        except StoreUnavailable as error:
            _log.error("the reload is not in the audit", reason=str(error))

    async def _cut_unlisted(self) -> None:
        """End the sessions of services that the configuration does not let pass any more."""
        ids = [
            session.id
            for session in self._table
            if session.app_password is None
            and not is_listed(session.backend, session.account, session.client.address, self._decider.rules)
        ]
        if ids:
            with contextlib.suppress(StillOpen):  # the cutter has said which process
                _log.info("services not listed any more are cut", sessions_cut=await self._cutter.cut(sessions=ids))

    def _distrust(self) -> None:
        """A write whose caller gave up was done after all, perhaps a revoke that nobody cuts for."""
        self._memory.forget_all()
        self._tasks.spawn(self._compare())

    async def _sweep(self) -> None:
        await expiry.sweep(
            self._store,
            self._config.node,
            time.time(),
            self._memory.forget,
            self._cut_expired,
        )
        await self._compare()  # what another process wrote, or a restored store

    async def _cut_expired(self, ended: list[AppPasswordRecord]) -> int:
        self._kicker.kick_later({record.account_id for record in ended if Protocol.LDAP in record.scopes})
        return await self._cutter.cut(app_passwords=[record.id for record in ended])

    async def _compare(self) -> None:
        await takeover.compare(self._store, self._cutter, self._memory.forget, lambda: list(self._table))

    async def _prune(self) -> None:
        await retention.prune(self._store, self._config.policy.audit_keep, time.time())

    def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        async def run() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await work()
                except StoreUnavailable as error:
                    _log.error("the store is not available", reason=str(error))
                except StillOpen:
                    pass  # the cutter has said which process
                except Exception:
                    _log.exception("internal error", work=getattr(work, "__qualname__", "?"))

        self._tasks.spawn(run())


class _Api:
    """uvicorn on admin.sock, inside our loop."""

    def __init__(self, desk: Desk) -> None:
        config = uvicorn.Config(
            make_api(desk),
            http=PeerHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=int(API_STOPS_WITHIN),
        )
        self._server = Server(config)
        self._task: asyncio.Task[None] | None = None

    def start(self, path: Path) -> None:
        sock = listen_on(path)
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[sock]))

    async def stop(self) -> None:
        self._server.stop()
        if self._task is not None:
            await self._task


def _limiter(config: Config) -> RefusalLimiter:
    limits = config.limits
    return RefusalLimiter(
        LimitRules(
            shaped_per_network=limits.shaped_per_network,
            shaped_per_account_and_network=limits.shaped_per_account_and_network,
            window=limits.window,
            penalty=limits.penalty,
            penalty_max=limits.penalty_max,
            shared_networks=config.shared_networks(),
        )
    )


def uids(config: Config) -> frozenset[int]:
    """Users besides our own whose processes may be peers: front workers and supervisors of their own uid."""
    return frozenset(pwd.getpwnam(name).pw_uid for name in config.link_users)


def _awaitable(work: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def run() -> object:
        return work()

    return run
