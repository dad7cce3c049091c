"""What sidegate presents to a backend on an account's behalf. Login strategies (proxy/backends) make these."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.domain.secret import Secret
from proxy.domain.values import value


@value
class PlainLogin:
    """SASL PLAIN (RFC 4616). `authzid` may be empty: then `authcid` is all there is (`user*master`, static)."""

    authzid: str
    authcid: str
    password: Secret


@value
class BearerLogin:
    """SASL OAUTHBEARER (RFC 7628) with a token for one account."""

    user: str
    token: Secret


@value
class XclientLogin:
    """Postfix XCLIENT LOGIN=, always sent together with ADDR."""

    user: str


@value
class ProxiedLogin:
    """LDAP: a simple Bind as a service that speaks for the account with each request (RFC 4370)."""

    bind_dn: str
    password: Secret
    authzid: str
    """The account's authzId (RFC 4513 section 5.2.1.8): `dn:uid=alice,ou=people,dc=example,dc=org`."""


@dataclass(frozen=True, slots=True)
class ServiceIdentityLogin:
    """LDAP: a simple Bind as a service, under whose rights the account reads listed parts of the directory."""

    bind_dn: str
    password: Secret
    account: str
    """The account's authzId, for Who am I?: the backend would name the service."""
    bases: tuple[str, ...]
    """DNs: what is below them, and they themselves, may be read."""
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceLogin:
    """LDAP: the simple Bind of a listed service DN, passed through. The only login made of what a client sent."""

    dn: str
    password: Secret
    """Empty in the core, which never has it."""


BackendLogin = PlainLogin | BearerLogin | XclientLogin | ProxiedLogin | ServiceIdentityLogin | ServiceLogin
