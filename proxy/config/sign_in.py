"""`portal.sign_in`: where people prove who they are, with the account password here or at an identity provider."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from proxy.config import credentials, values
from proxy.config.document import Scalar
from proxy.config.reader import KEYS, Bad, Section
from proxy.config.settings import OidcSignIn
from proxy.domain.login_names import canonical

DEFAULT_CLAIM = "email"


class Kind(StrEnum):
    PASSWORD = "password"
    OIDC = "oidc"


def read(portal: Section, default_domain: str, *, private: bool) -> OidcSignIn | None:
    """The identity provider; None for the account password. `private`: its CA and the client secret are read too."""
    here = portal.section("sign_in", "portal.sign_in")
    if here is None:
        return None
    hint = "write {type: oidc, issuer: …, client_id: …, client_secret_file: …}"
    kind = here.required("type", values.one_of(Kind), None, hint)
    if kind is not Kind.OIDC:
        for key in KEYS["portal.sign_in"]:
            if kind is not None and key in here and key != "type":
                here.fail(key, f"means nothing to type {kind}; remove it")
        return None
    secret = credentials.read(here, "client_secret", secrets=private)
    if not credentials.is_given(here, "client_secret", secrets=private):
        here.problems.add(here.mark, here.at("client_secret"), "is missing; write client_secret_file: /path of a file")
    mfa = here.section("mfa", "portal.sign_in.mfa")
    claim = here.get("account_claim", values.text, DEFAULT_CLAIM)
    if claim != DEFAULT_CLAIM and "trust_unverified_email" in here:
        here.fail("trust_unverified_email", "means nothing with another account_claim than email; remove it")

    def ca(scalar: Scalar) -> Path:
        return values.ca(scalar, certificates=private)

    def account(scalar: Scalar) -> str:
        name = canonical(values.text(scalar), default_domain)
        if name is None:
            raise Bad("is no login name; write admin@example.org")
        return name

    return OidcSignIn(
        issuer=here.required("issuer", _issuer, "", 'write "https://id.example.org/realms/staff"'),
        client_id=here.required("client_id", values.text, "", "write what the provider calls sidegate"),
        client_secret=secret,
        account_claim=claim,
        trust_unverified_email=here.get("trust_unverified_email", values.flag, False),
        acr=() if mfa is None else mfa.each("acr", values.text),
        amr=() if mfa is None else mfa.each("amr", values.text),
        name=here.get("name", values.shown_name, ""),
        break_glass=here.get("break_glass", account, ""),
        ca=here.get("ca", ca, None),
    )


def _issuer(scalar: Scalar) -> str:
    """https (http on loopback) without a query: an OpenID provider (OpenID Connect Discovery 1.0 section 3)."""
    written = values.portal_url(scalar)
    if "?" in written:
        raise Bad("is no issuer, which has no query; write it as it stands in the provider's metadata")
    return written
