"""An LDAP server as directory: an account password is right when it opens a Bind as the person's entry there.

Each check is a connection of its own: service Bind, search for the person, Bind as what was found. An account that is
not there takes the same round trips, the last one as an entry that cannot exist. Referrals are never followed: they
would take the password to a server that nobody named.

OpenLDAP (draft-behera-ldap-password-policy) and Active Directory say that a password is expired or to be changed only
after it was right; all else that they say about an account (locked, disabled) is WRONG here.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars

from proxy import logs
from proxy.config.settings import LdapDirectory
from proxy.directory import Checked
from proxy.directory.choosing import MAX_PASSWORD
from proxy.directory.pool import Busy, Pool
from proxy.domain.addresses import VARIABLE, VARIABLES
from proxy.domain.dn import Template, is_called
from proxy.domain.model import Account, AccountKind
from proxy.domain.secret import Secret
from proxy.wire.ldap.grammar import BerError, element, elements

THREADS = 4
"""Connections to the directory at a time."""
CONNECT_WITHIN = 5
RECEIVE_WITHIN = 5
"""Whole seconds that the directory has for a connection, and for each answer."""
ANSWER_WITHIN = 10.0
"""Seconds that a person waits at most, in the queue too."""

_SUCCESS, _SIZE_LIMIT, _NO_SUCH_OBJECT, _INVALID_CREDENTIALS = 0, 4, 32, 49
_REFUSALS = frozenset({19, _NO_SUCH_OBJECT, 48, _INVALID_CREDENTIALS, 53})
"""What a Bind is answered that is about the entry or its password (RFC 4511 appendix A): constraintViolation and
unwillingToPerform, too, are said of locked accounts. Everything else is the server's fault, or ours."""
_POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"
_EXPIRED, _CHANGE_AFTER_RESET = 0, 2
"""Errors in the control of that OID."""
_AD_MUST_CHANGE = re.compile(r"AcceptSecurityContext error, data (?:532|773),")
"""ERROR_PASSWORD_EXPIRED and ERROR_PASSWORD_MUST_CHANGE, in hexadecimal."""

_log = logs.get("directory")


class Ldap:
    """A Directory."""

    def __init__(self, settings: LdapDirectory) -> None:
        """OSError if the certificates of `ca` cannot be loaded."""
        self._settings = settings
        self._template = Template(settings.account_dn) if settings.account_dn else None
        url = urlsplit(settings.url)
        self._server: dict[str, Any] = {
            "host": url.hostname,
            "port": url.port,
            "use_ssl": url.scheme == "ldaps",
            "tls": _Verified(settings),
            "get_info": ldap3.NONE,
            "connect_timeout": CONNECT_WITHIN,
        }
        self._pool = Pool(THREADS, "ldap-directory")

    async def check(self, account: Account | None, password: Secret) -> Checked:
        """As Directory.check. Disabled accounts, and those that are no persons, have no right password."""
        typed = _sendable(password)
        if typed is None:
            return Checked.WRONG
        address = account.address if account is not None and _signs_in(account) else None
        user = None if account is None else account.address
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await self._pool.run(self._check, address, typed)
        except (LDAPException, OSError, BerError, _Unusable, Busy) as error:  # TimeoutError is an OSError
            _log.error("account password not checked", user=user, directory=self._settings.url, detail=_why(error))
        except Exception:
            _log.exception("account password not checked", user=user, directory=self._settings.url)
        return Checked.UNAVAILABLE

    async def members(self, addresses: Sequence[str], group: str) -> list[str]:
        """Those of the addresses whose entry is in a group: its DN, or its name. The groups of an entry are found by
        `group_filter`, else in its memberOf. However long it takes: one after another, over one connection.

        Unavailable when it cannot be told: that is not the same as in none."""
        try:
            return await self._pool.run(self._members, addresses, group)
        except Exception as error:
            raise Unavailable(_why(error)) from error

    async def close(self) -> None:
        """Finish what was asked for, then end the threads."""
        await self._pool.close()

    def _check(self, address: str | None, password: bytes) -> Checked:
        nobody = secrets.token_hex(16)
        with self._connected() as connection:
            dn = self._find(connection, address or f"{nobody}@invalid")
            bind_as = dn or f"cn={nobody},{self._settings.base}"
            _, result, _, _ = connection.rebind(
                bind_as, password, ldap3.SIMPLE, read_server_info=False, controls=[(_POLICY, False, None)]
            )
            checked = _verdict(result)
        return checked if dn is not None and address is not None else Checked.WRONG

    def _members(self, addresses: Sequence[str], group: str) -> list[str]:
        with self._connected() as connection:
            return [
                address
                for address in addresses
                if any(is_called(dn, group) for dn in self._groups(connection, address))
            ]

    def _groups(self, connection: ldap3.Connection, address: str) -> list[str]:
        """DNs."""
        dn = self._find(connection, address)
        if dn is None:
            return []
        if self._settings.group_filter:
            ours = self._settings.group_filter.replace("{dn}", escape_filter_chars(dn))
            return [entry["dn"] for entry in _search(connection, self._settings.base, ours)]
        entries = _search(connection, dn, "(objectClass=*)", scope=ldap3.BASE, attributes=["memberOf"])
        return [group.decode() for entry in entries for group in entry["raw_attributes"].get("memberOf", ())]

    def _find(self, connection: ldap3.Connection, address: str) -> str | None:
        """The DN to bind as; None where there is no such entry, or more than one."""
        if self._template is not None:
            return self._template.fill(address)
        values = {name: escape_filter_chars(value(address)) for name, value in VARIABLES.items()}
        wanted = VARIABLE.sub(lambda match: values[match[0]], self._settings.filter)
        found = [entry["dn"] for entry in _search(connection, self._settings.base, wanted, limit=2)]
        if len(found) > 1:
            _log.warning("directory has several entries for one account, which cannot sign in", user=address)
        return found[0] if len(found) == 1 and found[0] else None  # a Bind without a name would be anonymous

    @contextmanager
    def _connected(self) -> Iterator[ldap3.Connection]:
        """A connection, protected as configured, bound as the service if there is one."""
        settings = self._settings
        connection = ldap3.Connection(
            ldap3.Server(**self._server),
            client_strategy=ldap3.SAFE_SYNC,
            receive_timeout=RECEIVE_WITHIN,
            auto_referrals=False,
            auto_escape=False,
            check_names=False,
        )
        try:
            connection.open(read_server_info=False)
            if settings.starttls:
                connection.start_tls(read_server_info=False)  # which raises, or returns False
                if not connection.tls_started:
                    raise LDAPException("no StartTLS")
            if settings.bind_dn:
                assert settings.password is not None, "read without secrets"
                secret = settings.password.reveal().encode()
                _, result, _, _ = connection.rebind(settings.bind_dn, secret, ldap3.SIMPLE, read_server_info=False)
                if result["result"] != _SUCCESS:
                    raise _Unusable("Bind as bind_dn", result)
            yield connection
        finally:
            with suppress(LDAPException, OSError):
                connection.unbind()


class Unavailable(Exception):
    """The directory cannot tell; the text says why, for the operator."""


class _Unusable(Exception):
    """The directory's answer to one of our own requests."""

    def __init__(self, what: str, result: dict[str, Any]) -> None:
        super().__init__(f"{what}: {result['result']} {result['description']} {result['message']}".rstrip("\0 "))


class _Verified(ldap3.Tls):
    """TLS whose certificate and host name OpenSSL checks: ldap3's own check of the name takes `*` and old rules."""

    def __init__(self, settings: LdapDirectory) -> None:
        super().__init__()
        self._context = ssl.create_default_context(cafile=settings.ca)

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:
        """As ldap3.Tls.wrap_socket."""
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=connection.server.host)


def _signs_in(account: Account) -> bool:
    """Not with control characters in its address, which matching rules pass over (RFC 4518 section 2.2)."""
    return account.enabled and account.kind is AccountKind.PERSON and account.address.isprintable()


def _sendable(password: Secret) -> bytes | None:
    """What a Bind may carry. None: nothing that could be right, such as the empty password of an unauthenticated Bind
    (RFC 4513 section 5.1.2), which servers accept, or a NUL, where some stop reading."""
    typed = unicodedata.normalize("NFC", password.reveal())
    if not 0 < len(typed) <= MAX_PASSWORD or "\0" in typed:
        return None
    try:
        return typed.encode()
    except UnicodeEncodeError:
        return None


def _search(
    connection: ldap3.Connection,
    base: str,
    wanted: str,
    *,
    scope: Literal["BASE", "SUBTREE"] = ldap3.SUBTREE,
    attributes: Sequence[str] = ("1.1",),
    limit: int = 0,
) -> list[dict[str, Any]]:
    """The entries found, at most `limit` (0: all); none where `base` is none. Aliases and references to other servers
    are not followed."""
    _, result, response, _ = connection.search(
        base,
        wanted,
        scope,
        dereference_aliases=ldap3.DEREF_NEVER,
        attributes=list(attributes),
        size_limit=limit,
        time_limit=RECEIVE_WITHIN,
    )
    if scope == ldap3.BASE and result["result"] == _NO_SUCH_OBJECT:
        return []
    if result["result"] not in ((_SUCCESS, _SIZE_LIMIT) if limit else (_SUCCESS,)):
        raise _Unusable(f"search below {base}", result)
    return [entry for entry in response or () if entry["type"] == "searchResEntry"]


def _verdict(result: dict[str, Any]) -> Checked:
    """What the answer to a person's Bind says about the password."""
    code = result["result"]
    grace, error = _policy(result)
    if code == _SUCCESS:
        return Checked.MUST_CHANGE if grace or error in (_EXPIRED, _CHANGE_AFTER_RESET) else Checked.RIGHT
    if code not in _REFUSALS:
        raise _Unusable("Bind as the person", result)
    expired = error == _EXPIRED or _AD_MUST_CHANGE.search(result["message"])
    return Checked.MUST_CHANGE if code == _INVALID_CREDENTIALS and expired else Checked.WRONG


def _policy(result: dict[str, Any]) -> tuple[bool, int | None]:
    """Of a PasswordPolicyResponseValue: whether it counts grace logins, as for expired passwords, and its error."""
    value = (result.get("controls") or {}).get(_POLICY, {}).get("value") or b""
    if not value:
        return False, None
    _, start, end = element(value, 0, len(value))
    grace, error = False, None
    for tag, at, stop in elements(value, start, end):
        if tag == 0xA0:  # warning: CHOICE of [0] timeBeforeExpiration and [1] graceAuthNsRemaining
            grace = element(value, at, stop)[0] == 0x81
        elif tag == 0x81:
            error = int.from_bytes(value[at:stop], "big")
    return grace, error


def _why(error: Exception) -> str:
    return f"{type(error).__name__.lstrip('_')}: {error}"
