"""An identity provider: OpenID Connect's authorization code flow, as the site that relies on it (Core 1.0 section 3.1).

Browsers carry a code from there to us (portal/oidc_sign_in.py); what it stands for is fetched here, over a connection
of our own: the ID token, whose signature is verified with the keys that the provider publishes. PKCE (RFC 7636), nonce
and `iss` (RFC 9207) bind the answer to the browser that asked and to the provider that was asked.

Why no library does this: docs/decisions/0015-identity-provider-by-hand.md.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key, KeySet

import proxy
from proxy.config.settings import OidcSignIn
from proxy.domain.id_tokens import Proof, Untrue, name_in, weigh
from proxy.domain.sign_in import FRESH

ANSWER_WITHIN = 5.0
"""Seconds for each of our requests."""
MAX_ANSWER = 1024 * 1024
"""Bytes."""
MAX_TOKEN = 64 * 1024
CONNECTIONS = 8
METADATA_FOR = 10.0
"""Seconds that the metadata counts, and a failure to get it: who wants to sign in learns here that the provider is
down, not from their browser, and a crowd of them does not ask more often."""
KEYS_FOR = 3600.0
"""Seconds that the keys count."""
KEYS_AGAIN_AFTER = 30.0
"""Seconds before they are fetched once more for a key that is not among them."""
SCOPE = "openid email profile"
ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP", "Ed25519": "OKP"}
"""Signatures that are taken, with the kind of key: none with a shared secret, and not none."""
_OUR_FAULT = ("invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope")


class ProviderDown(Exception):
    """It cannot be reached, or does not answer as it must; or our registration there is wrong. For the operator."""


class Refused(Exception):
    """The provider, or what it sent, does not let this sign-in be. The text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What of the discovery document is used."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    end_session_endpoint: str
    """Empty: it has none."""
    sends_iss: bool
    algorithms: tuple[str, ...]
    basic: bool
    """Whether the client secret goes into a header, or else into the form."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Of one sign-in: known to the browser that began it, and to us."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who came back."""

    name: str
    """A login name, as the provider spells it."""
    proof: Proof
    has_factor: bool
    """Whether the provider says that they proved a second factor."""


class Provider:
    """One per portal process. Raises OSError if the certificates of `ca` cannot be loaded."""

    def __init__(self, settings: OidcSignIn, redirect_uri: str, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._http = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=settings.ca),
            timeout=ANSWER_WITHIN,
            trust_env=False,
            headers={"accept": "application/json", "user-agent": f"sidegate/{proxy.__version__}"},
            limits=httpx.Limits(max_connections=CONNECTIONS),
        )
        self._lock = asyncio.Lock()
        self._metadata: tuple[float, Metadata | str] | None = None
        """When it was asked for, and the answer, or why there is none."""
        self._keys: tuple[float, list[Key]] | None = None

    async def close(self) -> None:
        await self._http.aclose()

    async def metadata(self) -> Metadata:
        """The discovery document. ProviderDown."""
        async with self._lock:
            if self._metadata is None or not 0 <= self._clock() - self._metadata[0] < METADATA_FOR:
                url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
                found: Metadata | str
                try:
                    found = _metadata(await self._json("GET", url), self.settings.issuer)
                except ProviderDown as error:
                    found = str(error)
                self._metadata = self._clock(), found
            found = self._metadata[1]
        if isinstance(found, str):
            raise ProviderDown(found)
        return found

    async def keys(self, *, newer_than: float = float("-inf")) -> list[Key]:
        """The keys it signs with, fetched after `newer_than`. ProviderDown."""
        where = (await self.metadata()).jwks_uri
        async with self._lock:
            now = self._clock()
            if self._keys is None or not 0 <= now - self._keys[0] < KEYS_FOR or self._keys[0] <= newer_than:
                self._keys = now, _usable(await self._json("GET", where))
            return self._keys[1]

    async def address(self, secrets: Secrets, *, again: bool) -> str:
        """Where a browser is to go. `again`: the person is to prove who they are once more, however long they have been
        signed in there. ProviderDown."""
        challenge = hashlib.sha256(secrets.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": SCOPE,
            "state": secrets.state,
            "nonce": secrets.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if self.settings.acr:
            asked["acr_values"] = " ".join(self.settings.acr)
        if again:
            # max_age has the provider say when (Core section 2, auth_time). Not 0: some ask for ever then.
            asked |= {"prompt": "login", "max_age": f"{FRESH:.0f}"}
        return _with_query((await self.metadata()).authorization_endpoint, asked)

    async def person(self, answer: Mapping[str, str], secrets: Secrets) -> Person:
        """Whom the code that a browser brought stands for. ProviderDown, Refused."""
        metadata = await self.metadata()
        issuer = answer.get("iss")
        if (issuer is None and metadata.sends_iss) or (issuer is not None and issuer != self.settings.issuer):
            raise Refused("the answer is another provider's (RFC 9207)")
        if "error" in answer:
            # Its words are its own choice, and go nowhere but into this exception's kind.
            if answer["error"] in ("temporarily_unavailable", "server_error", *_OUR_FAULT):
                raise ProviderDown(f"it refused: {_short(answer['error'])}")
            raise Refused(f"it refused: {_short(answer['error'])}")
        tokens = await self._exchange(metadata, answer.get("code", ""), secrets)
        token, access = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str) or len(token) > MAX_TOKEN:
            raise ProviderDown("it sent no ID token")
        claims = await self._verified(token, metadata.algorithms)
        settings = self.settings
        try:
            proof = weigh(
                claims, issuer=settings.issuer, client_id=settings.client_id, nonce=secrets.nonce, now=self._clock()
            )
            if settings.account_claim not in claims and metadata.userinfo_endpoint and isinstance(access, str):
                claims = await self._userinfo(metadata.userinfo_endpoint, access, proof.subject)
            name = name_in(claims, settings.account_claim, trust_unverified_email=settings.trust_unverified_email)
        except Untrue as error:
            raise Refused(f"the ID token does not count: {error}") from None
        return Person(name, proof, proof.has_factor(settings.acr, settings.amr))

    async def sign_out_address(self, back: str) -> str:
        """Where a browser ends its session there (RP-Initiated Logout 1.0); nothing if that is not offered now."""
        try:
            where = (await self.metadata()).end_session_endpoint
        except ProviderDown:
            return ""
        asked = {"client_id": self.settings.client_id, "post_logout_redirect_uri": back}
        return _with_query(where, asked) if where else ""

    async def _exchange(self, metadata: Metadata, code: str, secrets: Secrets) -> Mapping[str, Any]:
        """The tokens that a code stands for (RFC 6749 section 4.1.3)."""
        if not code:
            raise Refused("the answer has no code")
        assert self.settings.client_secret is not None, "read without secrets"
        client_id, secret = self.settings.client_id, self.settings.client_secret.reveal()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": secrets.verifier,
        }
        if metadata.basic:  # RFC 6749 section 2.3.1: form-encoded first; no plus sign, which some take for one
            auth = httpx.BasicAuth(quote(client_id, safe=""), quote(secret, safe=""))
            return await self._json("POST", metadata.token_endpoint, data=form, auth=auth)
        form |= {"client_id": client_id, "client_secret": secret}
        return await self._json("POST", metadata.token_endpoint, data=form)

    async def _userinfo(self, where: str, access: str, subject: str) -> Mapping[str, Any]:
        claims = await self._json("GET", where, headers={"authorization": f"Bearer {access}"})
        if claims.get("sub") != subject:  # Core section 5.3.2
            raise Untrue("userinfo is about somebody else")
        return claims

    async def _verified(self, token: str, algorithms: Sequence[str]) -> Mapping[str, Any]:
        """The claims of an ID token whose signature is right. Refused."""
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError, UnicodeError):
            raise Refused("what should be an ID token is none") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in algorithms:
            raise Refused("the ID token is signed in a way that is not taken")
        fitting = _fitting(await self.keys(), algorithm, kid)
        if not fitting:  # it may have new ones
            fitting = _fitting(await self.keys(newer_than=self._clock() - KEYS_AGAIN_AFTER), algorithm, kid)
        for key in fitting:
            with suppress(JoseError, ValueError), warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # of the name EdDSA, which providers have not left
                return jwt.decode(token, key, algorithms=[algorithm]).claims
        raise Refused("the ID token is not signed with a key of the provider")

    async def _json(
        self,
        method: str,
        url: str,
        *,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: httpx.BasicAuth | None = None,
    ) -> Mapping[str, Any]:
        """A JSON object. ProviderDown; Refused where the token endpoint takes the code for none of ours."""
        where = urlsplit(url)
        shown = f"{where.scheme}://{where.netloc}{where.path}"
        try:
            async with (
                asyncio.timeout(ANSWER_WITHIN),  # httpx counts the time between two bytes
                self._http.stream(method, url, data=data, headers=headers, auth=auth) as response,
            ):
                body = b""
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER:
                        raise ProviderDown(f"{shown} answered more than {MAX_ANSWER} bytes")
        except (TimeoutError, httpx.TimeoutException):
            raise ProviderDown(f"{shown} did not answer within {ANSWER_WITHIN:g} s") from None
        except httpx.HTTPError as error:
            raise ProviderDown(f"{shown} cannot be reached: {error or type(error).__name__}") from None
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ProviderDown(f"{shown} answered {response.status_code} and no JSON object")
        if response.status_code == 400 and answer.get("error") == "invalid_grant":
            raise Refused("the code does not count there, or no more")
        if response.status_code != 200:
            raise ProviderDown(f"{shown} answered {response.status_code}: {_short(answer.get('error', ''))}")
        return answer


def _metadata(document: Mapping[str, Any], issuer: str) -> Metadata:
    """ProviderDown, with what is wrong with it."""
    if document.get("issuer") != issuer:
        raise ProviderDown("its metadata is another issuer's: portal.sign_in.issuer must be as it stands there")
    protected = issuer.startswith("https:")

    def endpoint(name: str, *, needed: bool = True) -> str:
        url = document.get(name)
        if url is None and not needed:
            return ""
        if not isinstance(url, str) or not url.startswith("https://" if protected else ("https://", "http://")):
            raise ProviderDown(f"its metadata has no usable {name}")
        return url

    ways = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if "client_secret_basic" not in ways and "client_secret_post" not in ways:
        raise ProviderDown("its token endpoint takes no client secret")
    algorithms = tuple(one for one in document.get("id_token_signing_alg_values_supported", ()) if one in ALGORITHMS)
    if not algorithms:
        raise ProviderDown(f"it signs with none of {', '.join(ALGORITHMS)}")
    return Metadata(
        authorization_endpoint=endpoint("authorization_endpoint"),
        token_endpoint=endpoint("token_endpoint"),
        jwks_uri=endpoint("jwks_uri"),
        userinfo_endpoint=endpoint("userinfo_endpoint", needed=False),
        end_session_endpoint=endpoint("end_session_endpoint", needed=False),
        sends_iss=document.get("authorization_response_iss_parameter_supported") is True,
        algorithms=algorithms,
        basic="client_secret_basic" in ways,
    )


def _usable(document: Mapping[str, Any]) -> list[Key]:
    """The keys of a JWK set; those of kinds that we do not know are left out (RFC 7517 section 5)."""
    listed = document.get("keys")
    found: list[Key] = []
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("kty") in ALGORITHMS.values() and one.get("use", "sig") == "sig":
            try:
                found += KeySet.import_key_set({"keys": [one]}).keys
            except (JoseError, ValueError, TypeError, KeyError):
                continue
    return found


def _fitting(keys: Sequence[Key], algorithm: str, kid: object) -> list[Key]:
    return [
        key
        for key in keys
        if key.key_type == ALGORITHMS[algorithm]
        and (kid is None or key.get("kid") == kid)
        and key.get("alg", algorithm) in (algorithm, "EdDSA", "Ed25519")
    ]


def _with_query(url: str, asked: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}"


def _short(error: object) -> str:
    """An OAuth error code, if it is one (RFC 6749 section 4.1.2.1): nothing else that was sent is logged."""
    known = isinstance(error, str) and len(error) <= 64 and error.isascii() and error.replace("_", "").isalnum()
    return str(error) if known else "an error without a code"
