"""`factors`: settings of second factors."""

from __future__ import annotations

import re

from proxy.config import document, phone_codes, values
from proxy.config.document import Mapping, Node, Scalar
from proxy.config.factor_settings import Factors, PhoneCodes, Push
from proxy.config.reader import Bad, Section, did_you_mean, section

NAMES = ("totp", "passkey", "push", "sms", "call", "recovery_codes")
_CONTACT = re.compile(r"mailto:[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|https://[A-Za-z0-9.-]+(?:/[!-~]*)?")


def read(top: Section, default_domain: str, *, private: bool) -> Factors:
    """The settings; what is wrong is recorded. `private`: certificates and secrets are read."""
    push = Push(f"mailto:postmaster@{default_domain}")
    codes: dict[str, PhoneCodes | None] = {}
    node = top.node("factors")
    if node is None:
        return Factors(push)
    if not isinstance(node, Mapping):
        top.fail("factors", "must be a mapping; write {push: {…}}")
        return Factors(push)
    for name, (mark, value) in node.entries.items():
        path = document.join("factors", name)
        if name not in NAMES:
            top.problems.add(mark, path, f"unknown key{did_you_mean(name, NAMES)}")
        elif _is_empty(value):
            continue
        elif name == "push":
            here = section(value, path, top.problems, "factors.push")
            push = push if here is None else _push(here, push)
        elif name in ("sms", "call"):
            here = section(value, path, top.problems, path)
            codes[name] = None if here is None else phone_codes.read(here, private=private)
        else:
            top.problems.add(value.mark, path, f"has no settings in this version of sidegate; write {name}: {{}}")
    return Factors(push, **codes)


def _is_empty(value: Node) -> bool:
    return (isinstance(value, Scalar) and value.is_null) or (isinstance(value, Mapping) and not value.entries)


def _push(here: Section, default: Push) -> Push:
    return Push(here.get("contact", _contact, default.contact), here.each("services", push_service))


def _contact(scalar: Scalar) -> str:
    written = values.text(scalar)
    if not _CONTACT.fullmatch(written):
        raise Bad('is neither mail nor a page; write "mailto:postmaster@example.org"')
    return written


def push_service(scalar: Scalar) -> str:
    """The origin of a push service, as endpoints begin with it; http only on this machine."""
    written = values.service_url(scalar)
    scheme, host = values.scheme_and_host(written)
    origin, _, path = written.partition("://")[2].partition("/")
    if path or "?" in written:
        raise Bad('has a path; write what the endpoints begin with, "https://push.example.org"')
    if scheme == "http" and not values.is_loopback(host):
        raise Bad("must be https: http is for this machine only")
    usual = ":443" if scheme == "https" else ":80"
    return f"{scheme}://{origin.lower().removesuffix(usual)}"
