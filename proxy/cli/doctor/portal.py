"""The portal: is it there under its URL, and is what it relies on?"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from proxy.cli.doctor.finding import Finding, State
from proxy.config import Config
from proxy.config.settings import Enrolment, LdapDirectory, OidcSignIn
from proxy.config.values import is_loopback
from proxy.directory import Checked
from proxy.domain.secret import Secret

WITHIN = 10.0
"""Seconds for an answer."""


def remarks(config: Config) -> Iterator[tuple[str, str]]:
    """What the configuration alone tells: what is meant, and what to do."""
    portal = config.portal
    parts = urlsplit(portal.url)
    secure = parts.scheme == "https"
    if not secure and not is_loopback(parts.hostname or ""):  # which browsers trust without TLS
        yield (
            "portal.url is no https: passwords and cookies go in the clear, and passkeys need it",
            "give the portal a certificate, or the web server in front of it",
        )
    if secure and portal.tls is None and is_loopback(portal.listen.host) and not portal.forwarded_from:
        yield (
            "portal.forwarded_from is missing: behind a web server everybody seems to come from that server, so that "
            "one attacker delays all, and trusted_networks cannot work",
            "name the web server there, and have it set X-Forwarded-For",
        )
    if portal.enrolment is Enrolment.OPEN:
        yield (
            "portal.enrolment is open: for 14 days after MFA was enabled for an account, whoever has its password "
            "registers the first second factor",
            "accounts enrolment-code --pending makes codes for all of them",
        )

    provider = portal.sign_in
    if provider is not None and not provider.break_glass:
        yield (
            "portal.sign_in.break_glass is missing: while the identity provider is down nobody can sign in",
            "name an admin there, and give them a password and a factor before it is needed",
        )
    if provider is not None and not (provider.acr or provider.amr):
        yield (
            "portal.sign_in.mfa is missing: whatever the provider asked people for counts as a password alone",
            "see what it sends in acr and amr after a second factor, and list that",
        )


def portal(config: Config) -> Iterator[Finding]:
    """Whether people reach the portal, and it the directory."""
    for text, todo in remarks(config):
        yield Finding("portal", State.WARNING, text, todo)
    yield _reached(config.portal.url)
    if config.directory is not None:
        yield _directory(config.directory)
    if config.portal.sign_in is not None:
        yield _provider(config.portal.sign_in)


def _reached(url: str) -> Finding:
    """As a browser would, by the name in the URL and with its certificate verified."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path.rstrip("/")
    todo = "from inside that may be the name or the way; else see the web server in front, and portal.listen"
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection: HTTPConnection = HTTPSConnection(host, parts.port, timeout=WITHIN, context=context)
        else:
            connection = HTTPConnection(host, parts.port, timeout=WITHIN)
        try:
            connection.request("GET", f"{path}/healthz")
            answer = connection.getresponse()
            said = answer.read(100)
        finally:
            connection.close()
    except (OSError, HTTPException) as error:
        return Finding("portal", State.WARNING, f"{url} does not answer: {error or type(error).__name__}", todo)
    if answer.status != 200 or said != b"ok\n":
        return Finding("portal", State.WARNING, f"{url} answers, but not as the portal ({answer.status})", todo)
    return Finding("portal", State.OK, f"{url} answers")


def _directory(settings: LdapDirectory) -> Finding:
    """A question about an account that nobody has: it takes the connection, the service's Bind and a search."""
    from proxy.directory.ldap import Ldap

    async def ask() -> Checked:
        directory = Ldap(settings)
        try:
            return await directory.check(None, Secret("doctor"))
        finally:
            await directory.close()

    if asyncio.run(ask()) is Checked.WRONG:
        return Finding("directory", State.OK, f"{settings.url} answers")
    return Finding(
        "directory",
        State.FAILED,
        f"{settings.url} cannot be asked: nobody signs in at the portal; app passwords work",
        "see the line above, and url, ca, bind_dn and password_file of directory",
    )


def _provider(settings: OidcSignIn) -> Finding:
    """Its metadata and keys, as the portal fetches them. Nobody is signed in."""
    from proxy.directory.oidc import Provider, ProviderDown  # and httpx with it

    async def ask() -> tuple[str, int]:
        provider = Provider(settings, "", time.time)
        try:
            algorithms = (await provider.metadata()).algorithms
            return ", ".join(algorithms), len(await provider.keys())
        finally:
            await provider.close()

    check = "identity provider"
    try:
        algorithms, keys = asyncio.run(ask())
    except ProviderDown as error:
        return Finding(check, State.FAILED, str(error), "compare portal.sign_in.issuer and ca, and see its log")
    if not keys:
        return Finding(check, State.FAILED, f"{settings.issuer} publishes no key to verify with", "see its settings")
    return Finding(check, State.OK, f"{settings.issuer} answers, and signs with {algorithms}")
