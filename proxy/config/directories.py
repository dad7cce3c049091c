"""What the `backends` section says of LDAP servers alone."""

from __future__ import annotations

from proxy.config import on_revoke, values
from proxy.config.document import Sequence
from proxy.config.reader import Section, section
from proxy.config.settings import Login, ServiceAccount, Strategy
from proxy.domain import dn


def account_dn(here: Section, domains: tuple[str, ...], login: Login) -> str:
    """The DN template of an LDAP backend; empty, and an error recorded, where it is wrong or cannot be done without."""
    if "account_dn" not in here and login.strategy is Strategy.SERVICE_IDENTITY:
        return ""
    written = here.required("account_dn", values.account_dn, "", "write uid={local},ou=people,dc=example,dc=org")
    if not written:
        return ""
    template = dn.Template(written)
    if len(domains) > 1 and template.variables == {"{local}"}:
        here.fail("account_dn", "gives alice of every domain one DN; with several domains write {account} or {domain}")
    elif template.matches(login.bind_dn) is not None:
        # Whoever has that account would speak for everybody.
        message = "makes login.bind_dn an account's; move the service out of there, such as to ou=services"
        here.fail("account_dn", message)
    return written


def none(here: Section) -> None:
    """For a backend that is no directory: the keys that only one of those has are errors."""
    for key in ("account_dn", "bind_names", "bind_only", "service_accounts"):
        if key in here:
            here.fail(key, "is for ldap only; remove it")


def service_accounts(
    here: Section, domains: tuple[str, ...], account_dn: str, login: Login, *, certificates: bool, secrets: bool
) -> tuple[ServiceAccount, ...]:
    """The services whose Binds are passed through; wrong ones are recorded and left out."""
    node = here.node("service_accounts")
    if node is None:
        return ()
    if not isinstance(node, Sequence):
        here.fail("service_accounts", "must be a list; write [{dn: …, networks: […]}]")
        return ()
    found: list[ServiceAccount] = []
    for index, item in enumerate(node.items):
        one = section(item, f"{here.at('service_accounts')}[{index}]", here.problems, "service_account")
        if one is None:
            continue
        written = one.required("dn", values.dn, "", "write cn=chat,ou=services,dc=example,dc=org")
        networks = one.each("networks", values.network)
        if "networks" not in one:
            one.fail("networks", "is missing; say where the service is: [10.0.0.7/32]")
        kick = one.section("on_revoke", "on_revoke")
        told = None
        if kick is not None:
            told = on_revoke.read(kick, domains, certificates=certificates, secrets=secrets)
        wrong = _against_service(written, account_dn, login, found) if written else None
        if wrong is not None:
            one.fail("dn", wrong)
        elif written and networks:
            found.append(ServiceAccount(written, networks, told))
    return tuple(found)


def _against_service(written: str, account_dn: str, login: Login, others: list[ServiceAccount]) -> str | None:
    parsed = dn.comparable(written)
    if parsed is None:
        return "has an OID, a quoted or a # value, which cannot be compared; write names and plain values"
    if account_dn and dn.Template(account_dn).matches(written) is not None:
        return "is an account's by account_dn, whose password must never pass; move the service to another branch"
    if parsed == dn.comparable(login.bind_dn):
        return "is login.bind_dn, which may speak for everybody; give the service an entry of its own"
    if any(parsed == dn.comparable(other.dn) for other in others):
        return "is in this list already; give it all its networks there"
    return None
