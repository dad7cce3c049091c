"""The typed configuration (DESIGN section 7). Frozen: a reload makes a new one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from proxy.config.factor_settings import Factors
from proxy.domain.gatekeeper import Rules
from proxy.domain.model import Protocol
from proxy.domain.networks import NetworkSet
from proxy.domain.secret import Secret


class FrontTls(StrEnum):
    IMPLICIT = "implicit"
    STARTTLS = "starttls"


class BackendTls(StrEnum):
    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


class ClientAddress(StrEnum):
    """How a backend learns the client's address."""

    ID = "id"
    """IMAP ID x-originating-ip before login (Dovecot's login_trusted_networks)."""
    XCLIENT = "xclient"
    PROXY_V2 = "proxy_v2"
    NONE = "none"


class Strategy(StrEnum):
    """Login strategies; one file each in proxy/backends."""

    DOVECOT_TOKEN = "dovecot_token"
    MASTER_USER = "master_user"
    XCLIENT = "xclient"
    STATIC = "static"
    PROXIED_AUTHORIZATION = "proxied_authorization"
    SERVICE_IDENTITY = "service_identity"


@dataclass(frozen=True, slots=True)
class Address:
    """host:port to listen on or connect to; host is an IP literal or (backends only) a name."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TlsPair:
    """PEM files; `names` are the SNI names it serves (empty: those in the certificate)."""

    certificate: Path
    key: Path
    names: tuple[str, ...] = ()


class Enrolment(StrEnum):
    """What an account's first factor needs besides the account password."""

    CODE = "code"
    """A one-time enrolment code, or a client in `trusted_networks`."""
    OPEN = "open"
    """Nothing more, for a fortnight after MFA was enabled for the account; then as CODE."""


@dataclass(frozen=True, slots=True)
class Mail:
    """The server that takes what people are told."""

    sender: str
    """The address in From."""
    server: Address
    tls: BackendTls
    ca: Path | None = None
    user: str = ""
    """Empty: no login."""
    password: Secret | None = None
    """None: there is no login, or secrets are not read."""
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class OidcSignIn:
    """An identity provider that people sign in at (OpenID Connect): it checks the account password, and perhaps a
    second factor."""

    issuer: str
    """As it stands in the provider's metadata, to the letter."""
    client_id: str
    client_secret: Secret | None = None
    """None: not read."""
    account_claim: str = "email"
    """What in an ID token is a login name of the account."""
    trust_unverified_email: bool = False
    acr: tuple[str, ...] = ()
    """Values of acr that say that a second factor was proven."""
    amr: tuple[str, ...] = ()
    """Values of amr that say so (RFC 8176): one of them will do."""
    name: str = ""
    """What people call the provider; empty: as the site."""
    break_glass: str = ""
    """The account that may sign in here with a password of ours, and a factor, while the provider is down."""
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Portal:
    """Where people sign in. `url` is shown verbatim in every refusal."""

    url: str
    listen: Address
    tls: TlsPair | None
    name: str = ""
    """What pages and authenticator apps call the site."""
    forwarded_from: tuple[str, ...] = ()
    """CIDRs of web servers in front, whose X-Forwarded-For is believed."""
    trusted_networks: tuple[str, ...] = ()
    """CIDRs from which a first factor needs no enrolment code."""
    enrolment: Enrolment = Enrolment.CODE
    fraud_stop_days: int = 0
    """How long nobody, the person included, comes in at the portal after a report of fraud; 0: the person may."""
    remember_days: int = 0
    """How long a device may go without a second factor, if its person wants that; 0: never."""
    mail: Mail | None = None
    """None: nobody is told anything by mail."""
    password_url: str = ""
    """Where people change account passwords that the directory keeps; empty: nowhere that they could be sent."""
    profile_signer: TlsPair | None = None
    """What signs profiles for Apple devices; None: they go out unsigned."""
    user: str | None = None
    """Whose the portal's process is, where that is another user than the core's; it shares the store by its group."""
    sign_in: OidcSignIn | None = None
    """None: with the account password, here."""

    def keeps_password_of(self, login_names: Collection[str]) -> bool:
        """Whether the account with these login names signs in with a password, not at the identity provider."""
        return self.sign_in is None or self.sign_in.break_glass in login_names

    @property
    def provider_name(self) -> str:
        """What people call the identity provider."""
        return (self.sign_in.name if self.sign_in is not None else "") or self.name


@dataclass(frozen=True, slots=True)
class Front:
    """One listening legacy protocol."""

    name: str
    """`imap:993` …: protocol and port, unique; used in logs."""
    protocol: Protocol
    listen: Address
    tls: FrontTls
    backend: str
    proxy_protocol_from: tuple[str, ...] = ()
    public: Address | None = None
    """Where programs elsewhere find it: a host name and a port. None: no program is told about it."""


@dataclass(frozen=True, slots=True)
class Login:
    """A backend's login strategy and its parameters; which are set depends on the strategy."""

    strategy: Strategy
    user: str = ""
    password: Secret | None = None
    separator: str | None = None
    """master_user: `user<separator>master`; None: SASL authzid."""
    issuer: str = ""
    client_id: str = ""
    audience: str = ""
    bind_dn: str = ""
    """proxied_authorization, service_identity: the service that sidegate binds as."""
    bases: tuple[str, ...] = ()
    """service_identity: the DNs at and below which accounts may read."""
    attributes: tuple[str, ...] = ()
    """service_identity: what they may read there."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """LDAP: the DN of a program's own account, whose Bind from these networks is passed through."""

    dn: str
    networks: tuple[str, ...]
    on_revoke: OnRevoke | None = None
    """A chat server: how it is told to end sessions."""


@dataclass(frozen=True, slots=True)
class Backend:
    """The server behind a front."""

    name: str
    protocol: Protocol
    addresses: tuple[Address, ...]
    tls: BackendTls
    ca: Path | None
    server_name: str | None
    """Name its certificate must carry; None: the host of its address."""
    username: str
    """Template of {account}, {local}, {domain}: what the backend calls an account without a backend name. LDAP has
    account_dn for that."""
    login: Login
    client_address: ClientAddress
    insecure: bool = False
    account_dn: str = ""
    """LDAP: a domain.dn.Template, the DN of an account. Empty (service_identity only): DNs are stored login names."""
    bind_names: bool = False
    """LDAP: clients may bind with a login name in place of a DN, as with Active Directory."""
    service_accounts: tuple[ServiceAccount, ...] = ()
    bind_only: bool = False
    """LDAP: a Bind with a right app password is answered at once; the directory is contacted at the first request."""


class KickWay(StrEnum):
    """How a chat server is told to end a person's sessions: `on_revoke.type`; one file each in proxy/chat."""

    EJABBERD = "ejabberd"
    PROSODY = "prosody"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class EjabberdKick:
    """ejabberd's HTTP API: with `token`, or `user` and `password`, or neither where ejabberd goes by address."""

    url: str
    """Of mod_http_api."""
    chat_user: str
    """Template of {account}, {local}, {domain}: the chat user that an account is, alice@chat.example.org."""
    user: str = ""
    password: Secret | None = None
    token: Secret | None = None
    ca: Path | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class ProsodyKick:
    """Prosody's admin shell, on this machine."""

    socket: Path
    chat_user: str


@dataclass(frozen=True, slots=True)
class WebhookKick:
    """A signed POST to whoever can end the sessions."""

    url: str
    secret: Secret | None
    """As standardwebhooks.com has it: `whsec_` and the key in base64. None: not read."""
    chat_user: str
    ca: Path | None = None
    insecure: bool = False


OnRevoke = EjabberdKick | ProsodyKick | WebhookKick
"""What ends the chat sessions behind a service account, which outlive the Bind that let them in."""


@dataclass(frozen=True, slots=True)
class LdapDirectory:
    """The LDAP server that keeps the account passwords. A person's entry is found by `filter` below `base`, or its DN
    is made of the address by `account_dn`."""

    url: str
    """ldap:// or ldaps://, host, perhaps a port."""
    base: str = ""
    filter: str = ""
    """Template of {account}, {local} and {domain}."""
    account_dn: str = ""
    """A domain.dn.Template."""
    bind_dn: str = ""
    """The service that searches; empty: nobody in particular."""
    password: Secret | None = None
    """Its password; None: there is no service, or secrets are not read."""
    group_filter: str = ""
    """Template of {dn}: finds the groups of an entry below `base`. Empty: they are its memberOf."""
    ca: Path | None = None
    starttls: bool = False
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    app_password_limit: int = 40
    app_password_max_age: float | None = None
    """Seconds."""
    audit_keep: float | None = 400 * 86400.0
    """Seconds; None: for ever."""


@dataclass(frozen=True, slots=True)
class Limits:
    """DESIGN section 4. Seconds and counts; every one bounded."""

    refusal_delay: float = 1.0
    login_timeout: float = 60.0
    refusals_per_connection: int = 10
    connections_per_network: int = 100
    sessions_per_app_password: int = 50
    sessions_per_account: int = 200
    shaped_per_network: int = 60
    shaped_per_account_and_network: int = 20
    window: float = 600.0
    penalty: float = 15.0
    penalty_max: float = 600.0
    shared_networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A whole, valid configuration."""

    path: Path
    store: str
    """sqlite:/path (postgresql://… is a later issue)."""
    state_dir: Path
    run_dir: Path
    workers: int | None
    """None: one per CPU (`auto`)."""
    tls: tuple[TlsPair, ...]
    portal: Portal
    default_domain: str
    domains: tuple[str, ...]
    hostname: str
    """What fronts call themselves in greetings."""
    fronts: tuple[Front, ...]
    backends: dict[str, Backend]
    directory: LdapDirectory | None = None
    """None: the store keeps the account passwords."""
    factors: Factors = field(default_factory=Factors)
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    node: str = "node1"
    """This machine's name in sessions and audit; default the short host name."""
    link_users: tuple[str, ...] = ()
    """Users besides the core's own whose processes may connect to link.sock: front workers of their own uid."""
    warnings: tuple[str, ...] = ()
    """What `check` and every start should say: `file:line:column: path: message` each."""

    def rules(self) -> Rules:
        """What it says about logins, as the gatekeeper takes it."""
        return Rules(
            self.default_domain,
            frozenset(self.domains),
            self.limits.sessions_per_app_password,
            self.limits.sessions_per_account,
            {
                name: {service.dn: NetworkSet(service.networks) for service in backend.service_accounts}
                for name, backend in self.backends.items()
                if backend.service_accounts
            },
        )

    def shared_networks(self) -> tuple[str, ...]:
        """Networks where many accounts' programs are: limits count by account there. Services are such programs."""
        services = (service for backend in self.backends.values() for service in backend.service_accounts)
        networks = (network for service in services for network in service.networks)
        return tuple(dict.fromkeys((*self.limits.shared_networks, *networks)))
