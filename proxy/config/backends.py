"""The `backends` section: servers, and how sidegate logs in there."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from proxy.config import credentials, directories, values
from proxy.config.document import Node
from proxy.config.reader import KEYS, Section, section
from proxy.config.settings import Address, Backend, BackendTls, ClientAddress, Login, ServiceAccount, Strategy
from proxy.domain.model import Protocol

MAIL_PROTOCOLS = (Protocol.IMAP, Protocol.SMTP)

SPEAKS: dict[Strategy, tuple[Protocol, ...]] = {
    Strategy.DOVECOT_TOKEN: MAIL_PROTOCOLS,
    Strategy.MASTER_USER: MAIL_PROTOCOLS,
    Strategy.STATIC: MAIL_PROTOCOLS,
    Strategy.XCLIENT: (Protocol.SMTP,),
    Strategy.PROXIED_AUTHORIZATION: (Protocol.LDAP,),
    Strategy.SERVICE_IDENTITY: (Protocol.LDAP,),
}
"""Which protocols a login strategy exists for."""

NEEDS: dict[Strategy, tuple[str, ...]] = {
    Strategy.DOVECOT_TOKEN: ("issuer", "client_id"),
    Strategy.MASTER_USER: ("user", "password"),
    Strategy.STATIC: ("user", "password"),
    Strategy.XCLIENT: (),
    Strategy.PROXIED_AUTHORIZATION: ("bind_dn", "password"),
    Strategy.SERVICE_IDENTITY: ("bind_dn", "password", "bases", "attributes"),
}
TAKES: dict[Strategy, tuple[str, ...]] = {
    Strategy.DOVECOT_TOKEN: ("issuer", "client_id", "audience"),
    Strategy.MASTER_USER: ("user", "password", "password_file", "separator"),
    Strategy.STATIC: ("user", "password", "password_file"),
    Strategy.XCLIENT: (),
    Strategy.PROXIED_AUTHORIZATION: ("bind_dn", "password", "password_file"),
    Strategy.SERVICE_IDENTITY: ("bind_dn", "password", "password_file", "bases", "attributes"),
}
"""Parameters of each strategy: those it cannot do without, and those that mean anything to it."""

CARRIES: dict[ClientAddress, tuple[Protocol, ...]] = {
    ClientAddress.ID: (Protocol.IMAP,),
    ClientAddress.XCLIENT: (Protocol.SMTP,),
    ClientAddress.PROXY_V2: tuple(Protocol),
    ClientAddress.NONE: tuple(Protocol),
}
"""Which protocols can carry a client's address which way."""


_HINTS = {
    "password": "password_file: /path of a file",
    "bases": 'bases: ["ou=people,dc=example,dc=org"]',
    "attributes": "attributes: [uid, cn, mail]",
}
"""What to write for a parameter that is missing, where its name alone does not say it."""


def shown_name(name: str) -> str:
    """A backend's name if it can be one, else `?`: it may be a misplaced secret."""
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", name) else "?"


def default_client_address(speaks: Protocol, strategy: Strategy) -> ClientAddress:
    """What a backend gets unless it says otherwise: IMAP ID costs nothing where the backend does not trust us."""
    if speaks is Protocol.IMAP:
        return ClientAddress.ID
    return ClientAddress.XCLIENT if strategy is Strategy.XCLIENT else ClientAddress.NONE


def read_all(top: Section, domains: tuple[str, ...], *, certificates: bool, secrets: bool) -> dict[str, Backend]:
    """Every backend by its name. Wrong ones are recorded and still there, so that fronts find them."""
    found: dict[str, Backend] = {}
    for name, mark, node in top.named("backends"):
        path = f"backends.{shown_name(name)}"
        if not path.endswith(name):
            message = "is no name for a backend; write a letter, then letters, digits, - or _ (31 at most)"
            top.problems.add(mark, path, message)
            continue
        backend = _backend(name, node, path, top, domains, certificates=certificates, secrets=secrets)
        if backend is not None:
            found[name] = backend
    if not found and "backends" not in top:
        top.fail("backends", "is missing; name at least one server: {mail: {protocol: imap, address: …, login: …}}")
    return found


def _backend(
    name: str, node: Node, path: str, top: Section, domains: tuple[str, ...], *, certificates: bool, secrets: bool
) -> Backend | None:
    here = section(node, path, top.problems, "backend")
    if here is None:
        return None
    speaks = here.required("protocol", values.one_of(Protocol), Protocol.IMAP, "write imap, smtp or ldap")
    addresses = here.each("address", values.backend_address, single=True)
    if "address" not in here:
        here.fail("address", 'is missing; write "10.0.0.5:143", or a list to be tried in order')
    tls = here.required("tls", values.one_of(BackendTls), BackendTls.STARTTLS, "write starttls, implicit or none")
    insecure = here.get("insecure", values.flag, False)
    _check_protection(here, speaks, tls, addresses, insecure=insecure)
    login = _login(here, speaks, secrets=secrets)
    account_dn = ""
    services: tuple[ServiceAccount, ...] = ()
    if speaks is Protocol.LDAP:
        account_dn = directories.account_dn(here, domains, login)
        services = directories.service_accounts(
            here, domains, account_dn, login, certificates=certificates, secrets=secrets
        )
    else:
        directories.none(here)
    return Backend(
        name=name,
        protocol=speaks,
        addresses=addresses,
        tls=tls,
        ca=_ca(here, tls, certificates=certificates),
        server_name=here.get("server_name", values.server_name, None),
        username=_username(here, speaks, domains, login),
        login=login,
        client_address=_client_address(here, speaks, login.strategy),
        insecure=insecure,
        account_dn=account_dn,
        bind_names=here.get("bind_names", values.flag, False),
        bind_only=here.get("bind_only", values.flag, False),
        service_accounts=services,
    )


def _username(here: Section, speaks: Protocol, domains: tuple[str, ...], login: Login) -> str:
    username = here.get("username", values.template, "{account}")
    if speaks is Protocol.LDAP:
        if "username" in here:
            here.fail("username", "means nothing in ldap, where account_dn says it; remove it")
        return "{account}"
    wrong = values.same_name_for_two(username, domains)
    if wrong is not None and login.strategy is not Strategy.STATIC:
        here.fail("username", wrong)
    return username


def _check_protection(
    here: Section, speaks: Protocol, tls: BackendTls, addresses: tuple[Address, ...], *, insecure: bool
) -> None:
    what = "logins and entries" if speaks is Protocol.LDAP else "logins and mail"
    abroad = [address for address in addresses if not values.is_loopback(address.host)]
    if tls is not BackendTls.NONE:
        if insecure:
            here.fail("insecure", f"means nothing with tls: {tls}, which is always verified; remove it")
        return
    if abroad and not insecure:
        message = f"none leaves {what} readable on the way to an address that is not loopback"
        here.fail("tls", f"{message}; write starttls or implicit, or say insecure: true")
    elif abroad:
        where = ", ".join(str(address) for address in abroad)
        here.problems.warn(here.mark_of("insecure"), here.at("insecure"), f"{what} go to {where} in the clear")


def _ca(here: Section, tls: BackendTls, *, certificates: bool) -> Path | None:
    if tls is BackendTls.NONE and ("ca" in here or "server_name" in here):
        here.fail("ca" if "ca" in here else "server_name", "means nothing with tls: none; remove it")

    return here.get("ca", partial(values.ca, certificates=certificates), None)


def _client_address(here: Section, speaks: Protocol, strategy: Strategy) -> ClientAddress:
    default = default_client_address(speaks, strategy)
    chosen = here.get("client_address", values.one_of(ClientAddress), default)
    if "client_address" not in here:
        return default
    if speaks not in CARRIES[chosen]:
        fitting = ", ".join(way for way, protocols in CARRIES.items() if speaks in protocols)
        here.fail("client_address", f"{chosen} does not exist in {speaks}; write one of {fitting}")
    elif strategy is Strategy.XCLIENT and chosen is not ClientAddress.XCLIENT:
        here.fail("client_address", "strategy xclient always passes the address by XCLIENT; remove it")
    return chosen


def _login(backend: Section, speaks: Protocol, *, secrets: bool) -> Login:
    here = backend.section("login", "login")
    if here is None:
        if "login" not in backend:
            backend.fail("login", f"is missing; write {{strategy: one of {', '.join(Strategy)}, …}}")
        return Login(Strategy.DOVECOT_TOKEN)
    strategy = here.required("strategy", values.one_of(Strategy), None, f"write one of {', '.join(Strategy)}")
    password = credentials.read(here, "password", secrets=secrets)
    login = Login(
        strategy=strategy or Strategy.DOVECOT_TOKEN,
        user=here.get("user", values.text, ""),
        password=password,
        separator=here.get("separator", values.separator, None),
        issuer=here.get("issuer", values.text, ""),
        client_id=here.get("client_id", values.text, ""),
        audience=here.get("audience", values.text, ""),
        bind_dn=here.get("bind_dn", values.dn, ""),
        bases=here.each("bases", values.comparable_dn),
        attributes=here.each("attributes", values.attribute),
    )
    if strategy is None:
        return login
    if speaks not in SPEAKS[strategy]:
        here.fail("strategy", f"{strategy} does not exist for {speaks}, only for {', '.join(SPEAKS[strategy])}")
    for key in (key for key in KEYS["login"] if key != "strategy"):
        if key in here and key not in TAKES[strategy]:
            here.fail(key, f"means nothing to strategy {strategy}; remove it")
    for key in NEEDS[strategy]:
        given = credentials.is_given(here, key, secrets=secrets) if key == "password" else key in here
        if not given:
            hint = _HINTS.get(key, f"{key}: …")
            here.problems.add(here.mark, here.at(key), f"is missing; strategy {strategy} needs {hint}")
    return login
