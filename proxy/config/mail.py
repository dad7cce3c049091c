"""`portal.mail`: the server that takes what people are told by mail."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from proxy.config import credentials, values
from proxy.config.reader import Section
from proxy.config.settings import Address, BackendTls, Mail

_STAND_IN = Address("", 0)


def read(portal: Section, *, private: bool) -> Mail | None:
    """The settings; None without that section. `private`: its certificates and its password are read."""
    here = portal.section("mail", "portal.mail")
    if here is None:
        return None
    sender = here.required("from", values.mail_address, "", "write sidegate@example.org")
    server = here.required("server", values.backend_address, _STAND_IN, 'write "mail.example.org:587"')
    tls = here.required("tls", values.one_of(BackendTls), BackendTls.STARTTLS, "write starttls, implicit or none")
    insecure = here.get("insecure", values.flag, False)
    _check_protection(here, tls, server, insecure=insecure)
    user = here.get("user", values.text, "")
    password = credentials.read(here, "password", secrets=private)
    by_password = "password" in here or "password_file" in here
    if by_password and "user" not in here:
        here.fail("user", "is missing; write whose password it is")
    elif "user" in here and not credentials.is_given(here, "password", secrets=private):
        here.problems.add(here.mark, here.at("password"), "is missing; write password_file: /path of a file")
    return Mail(
        sender=sender,
        server=server,
        tls=tls,
        ca=_ca(here, tls, private=private),
        user=user,
        password=password,
        insecure=insecure,
    )


def _check_protection(here: Section, tls: BackendTls, server: Address, *, insecure: bool) -> None:
    if tls is not BackendTls.NONE:
        if insecure:
            here.fail("insecure", f"means nothing with tls: {tls}, which is always verified; remove it")
        return
    if values.is_loopback(server.host) or server is _STAND_IN:
        return
    what = "what people are told"
    if insecure:
        here.problems.warn(here.mark_of("insecure"), here.at("insecure"), f"{what} goes to {server} in the clear")
    else:
        message = f"none leaves {what} readable on the way to an address that is not loopback"
        here.fail("tls", f"{message}; write starttls or implicit, or say insecure: true")


def _ca(here: Section, tls: BackendTls, *, private: bool) -> Path | None:
    if tls is BackendTls.NONE and "ca" in here:
        here.fail("ca", "means nothing with tls: none; remove it")
    return here.get("ca", partial(values.ca, certificates=private and tls is not BackendTls.NONE), None)
