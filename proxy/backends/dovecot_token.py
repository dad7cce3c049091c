"""A signed token for one account and 30 seconds, which Dovecot validates by itself: no master password exists.

ES256 JWT through SASL OAUTHBEARER. What Dovecot's local validation wants (2.3.19, src/lib-oauth2/oauth2-jwt.c):
`sub` present; `exp` ahead; `iat` not ahead, hence backdated for clocks that differ; `iss` one of the `issuers` it
lists; the key at `<azp>/ES256/<kid>` of `local_validation_key_dict`. docs/backends/dovecot.md has its side.
"""

from __future__ import annotations

from collections.abc import Callable

from joserfc import jwt
from joserfc.jwk import ECKey

from proxy.backends.keys import SigningKey
from proxy.config.settings import Login
from proxy.domain.backend_login import BearerLogin
from proxy.domain.secret import Secret

LIFETIME = 30
"""Seconds."""
BACKDATED = 10
"""Seconds that the backend's clock may be behind ours."""


def make(login: Login, key: SigningKey, clock: Callable[[], float]) -> Callable[[str], BearerLogin]:
    """A function from the backend's name of an account to a login with a token of its own."""
    signer = ECKey.import_key(key.private_pem)
    header = {"alg": "ES256", "typ": "JWT", "kid": key.id}
    fixed = {"iss": login.issuer, "azp": login.client_id, "aud": login.audience or login.client_id}

    def present(name: str) -> BearerLogin:
        now = int(clock())
        claims = {**fixed, "sub": name, "iat": now - BACKDATED, "exp": now + LIFETIME}
        return BearerLogin(name, Secret(jwt.encode(header, claims, signer)))

    return present
