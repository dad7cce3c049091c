"""A Config back as YAML, and the documented example."""

from __future__ import annotations

from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from proxy.config.backends import default_client_address
from proxy.config.factor_settings import PhoneCodes, Webhook
from proxy.config.listeners import DEFAULT_PORTAL_LISTEN, DEFAULT_REMEMBER_DAYS, default_public
from proxy.config.loading import DEFAULT_RUN_DIR, DEFAULT_STATE_DIR, machine_name
from proxy.config.settings import (
    Backend,
    Config,
    EjabberdKick,
    Enrolment,
    Front,
    KickWay,
    LdapDirectory,
    Limits,
    Mail,
    OidcSignIn,
    OnRevoke,
    Policy,
    ProsodyKick,
    ServiceAccount,
    Strategy,
    TlsPair,
)
from proxy.config.sign_in import DEFAULT_CLAIM
from proxy.domain.model import Protocol
from proxy.domain.secret import Secret

Entry = tuple[str, Any, Any]
"""Key, value, default: with only_changed, a value equal to its default is left out."""

MISSING = object()
"""Default of a key that has none."""


def example() -> str:
    """The documented example: `##` explains, `#` holds an option at its default."""
    return resources.files("proxy.config").joinpath("example.yaml").read_text("utf-8")


def show(config: Config, only_changed: bool) -> str:
    """The configuration as it is in force, as YAML that `load` takes again once its secrets are written in.

    Secrets are shown as <secret>, with only_changed all defaults are left out.
    """
    tree = _kept(
        only_changed,
        ("store", config.store, f"sqlite:{config.state_dir}/sidegate.db"),
        ("state_dir", str(config.state_dir), str(DEFAULT_STATE_DIR)),
        ("run_dir", str(config.run_dir), str(DEFAULT_RUN_DIR)),
        ("workers", "auto" if config.workers is None else config.workers, "auto"),
        ("node", config.node, machine_name().partition(".")[0]),
        ("hostname", config.hostname, machine_name()),
        ("link_users", list(config.link_users), []),
        ("tls", [_pair(pair) for pair in config.tls], MISSING),
        ("portal", _portal(config, only_changed), MISSING),
        ("default_domain", config.default_domain, MISSING),
        ("domains", list(config.domains), [config.default_domain]),
        ("fronts", [_front(front, config.hostname, only_changed) for front in config.fronts], MISSING),
        ("backends", {name: _backend(one, only_changed) for name, one in config.backends.items()}, MISSING),
        ("directory", _directory(config.directory), {"type": "embedded"}),
        ("factors", _factors(config, only_changed), {}),
        ("policy", _policy(config.policy, only_changed), {}),
        ("limits", _limits(config.limits, only_changed), {}),
    )
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120)


def _kept(only_changed: bool, *entries: Entry) -> dict[str, Any]:
    return {key: value for key, value, default in entries if not (only_changed and value == default)}


def _pair(pair: TlsPair) -> dict[str, Any]:
    return _kept(
        True,
        ("certificate", str(pair.certificate), MISSING),
        ("key", str(pair.key), MISSING),
        ("names", [*pair.names], []),
    )


def _portal(config: Config, only_changed: bool) -> dict[str, Any]:
    portal = config.portal
    tree = _kept(
        only_changed,
        ("url", portal.url, MISSING),
        ("listen", str(portal.listen), str(DEFAULT_PORTAL_LISTEN)),
        ("name", portal.name, config.default_domain),
        ("forwarded_from", list(portal.forwarded_from), []),
        ("trusted_networks", list(portal.trusted_networks), []),
        ("enrolment", str(portal.enrolment), str(Enrolment.CODE)),
        ("remember_days", portal.remember_days, DEFAULT_REMEMBER_DAYS),
        ("fraud_stop_days", portal.fraud_stop_days, 0),
    )
    if portal.user is not None:
        tree["user"] = portal.user
    if portal.password_url:
        tree["password_url"] = portal.password_url
    if portal.mail is not None:
        tree["mail"] = _mail(portal.mail)
    if portal.profile_signer not in (None, portal.tls):
        tree["profile_signer"] = _pair(portal.profile_signer)
    if portal.sign_in is not None:
        tree["sign_in"] = _sign_in(portal.sign_in, only_changed)
    return tree if portal.tls is None else tree | {"tls": _pair(portal.tls)}


def _mail(mail: Mail) -> dict[str, Any]:
    return _kept(
        True,
        ("from", mail.sender, MISSING),
        ("server", str(mail.server), MISSING),
        ("tls", str(mail.tls), MISSING),
        ("ca", None if mail.ca is None else str(mail.ca), None),
        ("insecure", mail.insecure, False),
        ("user", mail.user, ""),
        ("password", None if mail.password is None else "<secret>", None),
    )


def _sign_in(provider: OidcSignIn, only_changed: bool) -> dict[str, Any]:
    tree = _kept(
        True,
        ("type", "oidc", MISSING),
        ("issuer", provider.issuer, MISSING),
        ("client_id", provider.client_id, MISSING),
        ("client_secret", None if provider.client_secret is None else "<secret>", None),
        ("name", provider.name, ""),
        ("break_glass", provider.break_glass, ""),
        ("ca", None if provider.ca is None else str(provider.ca), None),
        ("trust_unverified_email", provider.trust_unverified_email, False),
    )
    mfa = _kept(True, ("acr", list(provider.acr), []), ("amr", list(provider.amr), []))
    return tree | _kept(only_changed, ("account_claim", provider.account_claim, DEFAULT_CLAIM), ("mfa", mfa, {}))


def _front(front: Front, hostname: str, only_changed: bool) -> dict[str, Any]:
    tree = _kept(
        True,
        ("protocol", str(front.protocol), MISSING),
        ("listen", str(front.listen), MISSING),
        ("tls", str(front.tls), MISSING),
        ("backend", front.backend, MISSING),
        ("proxy_protocol_from", list(front.proxy_protocol_from), []),
    )
    default = default_public(front.listen, hostname)
    return tree | _kept(only_changed, ("public", str(front.public or "none"), str(default or "none")))


def _backend(backend: Backend, only_changed: bool) -> dict[str, Any]:
    addresses = [str(address) for address in backend.addresses]
    strategy = backend.login.strategy
    tree = _kept(
        True,
        ("protocol", str(backend.protocol), MISSING),
        ("address", addresses[0] if len(addresses) == 1 else addresses, MISSING),
        ("tls", str(backend.tls), MISSING),
        ("ca", None if backend.ca is None else str(backend.ca), None),
        ("server_name", backend.server_name, None),
        ("insecure", backend.insecure, False),
        ("account_dn", backend.account_dn, ""),
    )
    if backend.protocol is Protocol.LDAP:
        services = [_service(service) for service in backend.service_accounts]
        tree |= _kept(
            only_changed,
            ("bind_names", backend.bind_names, False),
            ("bind_only", backend.bind_only, False),
            ("service_accounts", services, []),
        )
    elif strategy is not Strategy.STATIC:
        tree |= _kept(only_changed, ("username", backend.username, "{account}"))
    default = default_client_address(backend.protocol, strategy)
    tree |= _kept(only_changed, ("client_address", str(backend.client_address), str(default)))
    login = backend.login
    tree["login"] = _kept(
        True,
        ("strategy", str(strategy), MISSING),
        ("user", login.user, ""),
        ("password", None if login.password is None else "<secret>", None),
        ("separator", login.separator, None),
        ("issuer", login.issuer, ""),
        ("client_id", login.client_id, ""),
        ("audience", login.audience, ""),
        ("bind_dn", login.bind_dn, ""),
        ("bases", list(login.bases), []),
        ("attributes", list(login.attributes), []),
    )
    return tree


def _service(service: ServiceAccount) -> dict[str, Any]:
    tree: dict[str, Any] = {"dn": service.dn, "networks": list(service.networks)}
    return tree if service.on_revoke is None else tree | {"on_revoke": _on_revoke(service.on_revoke)}


def _on_revoke(kick: OnRevoke) -> dict[str, Any]:
    match kick:
        case EjabberdKick():
            way = KickWay.EJABBERD
        case ProsodyKick():
            way = KickWay.PROSODY
        case _:
            way = KickWay.WEBHOOK
    tree: dict[str, Any] = {"type": str(way)}
    for field in fields(kick):
        value = getattr(kick, field.name)
        if value != field.default:
            tree[field.name] = "<secret>" if isinstance(value, Secret) else value
            if isinstance(value, Path):
                tree[field.name] = str(value)
    return tree


def _directory(directory: LdapDirectory | None) -> dict[str, Any]:
    if directory is None:
        return {"type": "embedded"}
    return _kept(
        True,
        ("type", "ldap", MISSING),
        ("url", directory.url, MISSING),
        ("starttls", directory.starttls, False),
        ("ca", None if directory.ca is None else str(directory.ca), None),
        ("insecure", directory.insecure, False),
        ("base", directory.base, ""),
        ("filter", directory.filter, ""),
        ("account_dn", directory.account_dn, ""),
        ("bind_dn", directory.bind_dn, ""),
        ("password", None if directory.password is None else "<secret>", None),
        ("group_filter", directory.group_filter, ""),
    )


def _factors(config: Config, only_changed: bool) -> dict[str, Any]:
    push = config.factors.push
    shown = _kept(
        only_changed,
        ("contact", push.contact, f"mailto:postmaster@{config.default_domain}"),
        ("services", list(push.services), []),
    )
    tree: dict[str, Any] = {"push": shown} if shown else {}
    codes = {"sms": config.factors.sms, "call": config.factors.call}
    return tree | {name: _phone_codes(one) for name, one in codes.items() if one is not None}


def _phone_codes(codes: PhoneCodes) -> dict[str, Any]:
    hook = codes.webhook
    return _kept(
        True,
        ("webhook", None if hook is None else _webhook(hook), None),
        ("apprise", "<secret>" if hook is None else None, None),
        ("countries", list(codes.countries), MISSING),
        ("daily_limit", codes.daily_limit, MISSING),
    )


def _webhook(hook: Webhook) -> dict[str, Any]:
    return _kept(
        True,
        ("url", hook.url, MISSING),
        ("ca", None if hook.ca is None else str(hook.ca), None),
        ("secret", "<secret>", MISSING),
    )


def _policy(policy: Policy, only_changed: bool) -> dict[str, Any]:
    age, keep = policy.app_password_max_age, policy.audit_keep
    return _kept(
        only_changed,
        ("app_password_limit", policy.app_password_limit, Policy().app_password_limit),
        ("app_password_max_age", None if age is None else _duration(age), None),
        ("account_passwords_on_fronts", "refuse", "refuse"),
        ("audit_keep", "forever" if keep is None else _duration(keep), "400d"),
    )


def _limits(limits: Limits, only_changed: bool) -> dict[str, Any]:
    default = Limits()
    return _kept(
        only_changed,
        *(
            (field.name, _plain(getattr(limits, field.name)), _plain(getattr(default, field.name)))
            for field in fields(Limits)
        ),
    )


def _plain(value: float | int | tuple[str, ...]) -> str | int | list[str]:
    if isinstance(value, tuple):
        return list(value)
    return _duration(value) if isinstance(value, float) else value


def _duration(seconds: float) -> str:
    """The shortest way to write it: 5400 -> 90m."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s" if seconds == int(seconds) else f"{seconds * 1000:.0f}ms"
