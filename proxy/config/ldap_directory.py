"""`directory`: who keeps the account passwords, sidegate's own store or an LDAP server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from proxy.config import credentials, files, values
from proxy.config.document import Scalar
from proxy.config.reader import KEYS, Section
from proxy.config.settings import LdapDirectory


class Kind(StrEnum):
    EMBEDDED = "embedded"
    LDAP = "ldap"


def read(top: Section, domains: tuple[str, ...], *, private: bool) -> LdapDirectory | None:
    """The LDAP server; None for the store. `private`: its certificates and its password are read too."""
    here = top.section("directory", "directory", ("recheck",))
    if here is None:
        return None
    kind = here.required("type", values.one_of(Kind), None, "write {type: embedded}, or {type: ldap, url: …}")
    if kind is not Kind.LDAP:
        for key in KEYS["directory"]:
            if kind is not None and key in here and key != "type":
                here.fail(key, f"means nothing to type {kind}; remove it")
        return None
    url = here.required("url", values.ldap_url, "", 'write "ldaps://ldap.example.org"')
    starttls = here.get("starttls", values.flag, False)
    insecure = here.get("insecure", values.flag, False)
    if url:
        _check_protection(here, url, starttls=starttls, insecure=insecure)
    account_dn = here.get("account_dn", values.account_dn, "")
    bind_dn = here.get("bind_dn", values.dn, "")
    password = credentials.read(here, "password", secrets=private)
    wanted = here.get("filter", values.ldap_filter("{account}", "{local}", "{domain}"), "")
    _check_way(here, domains, account_dn, wanted)
    given = credentials.is_given(here, "password", secrets=private)
    if bind_dn and not given:
        here.problems.add(here.mark, here.at("password"), "is missing; write password_file: /path of a file")
    elif "bind_dn" not in here and ("password" in here or "password_file" in here):
        here.fail("bind_dn", "is missing; write whose password it is: cn=sidegate,ou=services,dc=example,dc=org")

    def ca(scalar: Scalar) -> Path:
        path = values.absolute_path(scalar)
        if private:
            files.check_ca(path)
        return path

    return LdapDirectory(
        url=url,
        base=here.get("base", values.dn, ""),
        filter=wanted,
        account_dn=account_dn,
        bind_dn=bind_dn,
        password=password,
        group_filter=here.get("group_filter", values.ldap_filter("{dn}"), ""),
        ca=here.get("ca", ca, None),
        starttls=starttls,
        insecure=insecure,
    )


def _check_way(here: Section, domains: tuple[str, ...], account_dn: str, wanted: str) -> None:
    """How a person's entry is found: by search, or its DN is made of the address."""
    if "account_dn" in here and "filter" in here:
        here.fail("account_dn", "stands beside filter; keep one of the two")
    elif "account_dn" not in here and "filter" not in here:
        message = 'is missing; write filter: "(mail={account})", or account_dn where the address says it'
        here.problems.add(here.mark, here.at("filter"), message)
    if ("filter" in here or "group_filter" in here) and "base" not in here:
        here.fail("base", "is missing; write where to search: ou=people,dc=example,dc=org")
    if wanted and "{account}" not in wanted and "{local}" not in wanted:
        here.fail("filter", "finds the same entry for everybody; write {account}, or {local}")
    template = wanted or account_dn
    if len(domains) > 1 and "{local}" in template and "{domain}" not in template:
        message = "finds one entry for alice of every domain; with several domains write {account}, or {domain} too"
        here.fail("filter" if wanted else "account_dn", message)


def _check_protection(here: Section, url: str, *, starttls: bool, insecure: bool) -> None:
    scheme, host = values.scheme_and_host(url)
    protected = scheme == "ldaps" or starttls
    if scheme == "ldaps" and starttls:
        here.fail("starttls", "means nothing with ldaps://, which is TLS from the first byte; remove it")
    if protected and insecure:
        here.fail("insecure", "means nothing with TLS, which is always verified; remove it")
    if not protected and "ca" in here:
        here.fail("ca", "means nothing without TLS; write starttls: true, or remove it")
    if protected or values.is_loopback(host):
        return
    what = "account passwords"
    if not insecure:
        message = f"ldap leaves {what} readable on the way to an address that is not loopback"
        here.fail("url", f"{message}; write ldaps, or say starttls: true, or insecure: true")
    else:
        here.problems.warn(here.mark_of("insecure"), here.at("insecure"), f"{what} go to {host} in the clear")
