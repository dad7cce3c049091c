"""Composition root of the portal: pages over HTTP, in a process of its own, with the store and the portal key.

    python -m proxy.portal_process --config FILE --listen-fd N --status-fd N

Behind a reverse proxy it speaks HTTP on loopback; with `portal.tls` it speaks HTTPS itself. SIGHUP reads the
configuration and the certificate again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy import keyfiles, logs
from proxy.child import report_ready, settle
from proxy.config.errors import ConfigErrors
from proxy.config.loading import load
from proxy.config.settings import Config, TlsPair
from proxy.directory import Directory
from proxy.directory.embedded import Embedded
from proxy.directory.oidc import Provider
from proxy.factors import registry
from proxy.factors.sealing import Sealer
from proxy.http_server import Server
from proxy.keyfiles import KeysError
from proxy.notices.encryption import SEED_BYTES, server_key
from proxy.notices.mailer import Mailer
from proxy.notices.outbox import Outbox
from proxy.notices.web_push import WebPush
from proxy.portal import texts
from proxy.portal.core_client import CoreClient
from proxy.portal.desk import PortalDesk
from proxy.portal.gateway_failures import noting
from proxy.portal.http import MAX_CONNECTIONS, HttpForStrangers, unambiguous
from proxy.portal.pages import make_pages
from proxy.portal.push_waking import Waking
from proxy.portal.upkeep import prune_forever
from proxy.store.engine import Store
from proxy.store.errors import NotSetUp, StoreUnavailable
from proxy.store.threads import StoreThreads

BAD_CONFIGURATION = 78
STOP_WITHIN = 3
"""Seconds that open requests have after SIGTERM."""

_log = logs.get("portal")


class BadCertificate(Exception):
    """One sentence: which file, what is wrong."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or until the supervisor is gone; returns the exit status."""
    parser = argparse.ArgumentParser(prog="proxy.portal_process", description="Started by the supervisor only.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--status-fd", type=int, required=True)
    arguments = parser.parse_args(argv)
    settle(arguments.status_fd)
    os.umask(0o077)  # what SQLite writes beside the store
    logs.setup()
    try:
        config = load(arguments.config, certificates=False, secrets=False)
        key = keyfiles.portal_key(config.state_dir)
        store = Store(config.store)
        _check(store)
        portal = _Portal(config, store, key)
    except (ConfigErrors, BadCertificate) as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201 - for the person who started it
        return BAD_CONFIGURATION
    except (KeysError, NotSetUp) as error:
        print(f"sidegate: {error}", file=sys.stderr, flush=True)  # noqa: T201 - as above
        return BAD_CONFIGURATION
    try:
        uvloop.run(portal.serve(socket.socket(fileno=arguments.listen_fd), arguments.status_fd))
    finally:
        store.close()
    return 0


def _check(store: Store) -> None:
    """Say so if the store cannot be used now: pages that need it say that, too, and the one that explains does not.

    Raises NotSetUp where trying again will not help.
    """
    try:
        store.check()
    except NotSetUp:
        raise
    except StoreUnavailable as error:
        _log.error("nobody can sign in at the portal until the store can be used", reason=str(error))


class _Portal:
    """What the pages work with. A reload replaces the pages, and the certificate inside the TLS context."""

    def __init__(self, config: Config, store: Store, key: bytes) -> None:
        self._path = config.path
        self._store = StoreThreads(store)
        self._sealer = Sealer(key, secrets.token_bytes)
        self._directory = _directory(config, self._store, None)
        self._provider: Provider | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._core = CoreClient(config.run_dir / "admin.sock")
        self._texts = texts.load()
        self._outbox = Outbox(self._store, self._texts, time.time)
        self._web_push = WebPush(server_key(self._sealer.derive("vapid", SEED_BYTES)), "", (), time.time)
        self._waking = Waking(self._web_push, self._store, self._texts, time.time)
        self._tls = None if config.portal.tls is None else ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self._tls is not None:
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            self._tls.options |= ssl.OP_NO_RENEGOTIATION
            self._tls.set_alpn_protocols(["http/1.1"])
        self._use(config)

    def _use(self, config: Config) -> None:
        provider = _provider(config)
        if self._tls is not None and config.portal.tls is not None:
            _load_certificate(self._tls, config.portal.tls)
        mailer = _mailer(config)
        self._web_push.use(config.factors.push.contact, config.factors.push.services)
        self._waking.site, self._waking.node = config.portal.name, config.node
        self._outbox.use(
            mailer,
            self._web_push,
            node=config.node,
            site=config.portal.name,
            host=urlsplit(config.portal.url).hostname or config.hostname,
        )
        self._pages: ASGIApp = make_pages(
            PortalDesk(
                config=config,
                store=self._store,
                sealer=self._sealer,
                directory=self._directory,
                factors=registry.make(
                    config,
                    self._store,
                    self._sealer,
                    time.time,
                    secrets.token_bytes,
                    self._waking,
                    self._texts,
                    noting(config.node, time.time),
                ),
                core=self._core,
                clock=time.time,
                token=secrets.token_bytes,
                texts=self._texts,
                mailer=mailer,
                web_push=self._web_push,
                provider=provider,
            )
        )
        self._provider = provider

    async def serve(self, sock: socket.socket, status_fd: int) -> None:
        async def pages(scope: Scope, receive: Receive, send: Send) -> None:
            await self._pages(scope, receive, send)

        settings = uvicorn.Config(
            unambiguous(pages),
            http=HttpForStrangers,
            log_config=None,
            log_level="error",  # or strangers write a line with each request that is none
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            limit_concurrency=MAX_CONNECTIONS + 1,
            timeout_graceful_shutdown=STOP_WITHIN,
        )
        settings.load()
        settings.ssl = self._tls
        loop = asyncio.get_running_loop()
        server = Server(settings, lambda: report_ready(loop, status_fd, server.stop))
        loop.add_signal_handler(signal.SIGTERM, server.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        upkeep = [loop.create_task(prune_forever(self._store, time.time)), loop.create_task(self._outbox.run())]
        await server.serve(sockets=[sock])
        for task in upkeep:
            task.cancel()
        await asyncio.gather(*upkeep, return_exceptions=True)
        await self._waking.close()
        await self._web_push.close()
        await self._core.close()
        await self._directory.close()
        if self._provider is not None:
            await self._provider.close()
        await self._store.close()

    def _reload(self) -> None:
        before, provider = self._directory, self._provider
        try:
            config = load(self._path, certificates=False, secrets=False)
            self._directory = _directory(config, self._store, before)
            self._use(config)
        except (ConfigErrors, BadCertificate) as error:
            before, self._directory = self._directory, before
            _log.error("configuration not reloaded, the old one stays in force", detail=str(error))
        else:
            _log.info("configuration reloaded")
        if before is not self._directory:
            self._close(before)
        if provider is not None and provider is not self._provider:
            self._close(provider)

    def _close(self, replaced: Directory | Provider) -> None:
        closing = asyncio.get_running_loop().create_task(replaced.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _directory(config: Config, store: StoreThreads, before: Directory | None) -> Directory:
    """That of the configuration; with an identity provider the store, which has the break-glass password. An LDAP
    server's is made anew at each reload: its certificates may be others."""
    if config.directory is None or config.portal.sign_in is not None:
        return before if isinstance(before, Embedded) else Embedded(store)
    from proxy.directory.ldap import Ldap  # which embedded sites do without

    try:
        return Ldap(config.directory)
    except OSError as error:  # since load() looked at it
        raise BadCertificate(f"sidegate: directory.ca: {config.directory.ca}: {error}; write PEM") from error


def _mailer(config: Config) -> Mailer | None:
    """Who takes mails, if anybody."""
    if config.portal.mail is None:
        return None
    try:
        return Mailer(config.portal.mail, config.portal.name, config.hostname)
    except OSError as error:  # since load() looked at it
        raise BadCertificate(f"sidegate: portal.mail.ca: {config.portal.mail.ca}: {error}; write PEM") from error


def _provider(config: Config) -> Provider | None:
    """The identity provider of the configuration, if there is one."""
    settings = config.portal.sign_in
    if settings is None:
        return None
    try:
        return Provider(settings, f"{config.portal.url.rstrip('/')}/sign-in/callback", time.time)
    except OSError as error:  # since load() looked at it
        raise BadCertificate(f"sidegate: portal.sign_in.ca: {settings.ca}: {error}; write PEM") from error


def _load_certificate(context: ssl.SSLContext, pair: TlsPair) -> None:
    try:
        context.load_cert_chain(pair.certificate, pair.key)
    except OSError as error:  # ssl.SSLError is one, and names no file
        reason = error.strerror if not isinstance(error, ssl.SSLError) else (error.reason or "not usable")
        raise BadCertificate(
            f"sidegate: portal.tls: {pair.certificate} with key {pair.key}: {reason}; "
            "both must be PEM files that belong together and that this user may read"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
