"""An OpenID provider that can be made to do wrong, over HTTP on loopback. What it does right is checked against a real
one (tests/peers/canaille.py)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

CLIENT_ID = "sidegate at example"
"""With spaces: they have to be encoded (RFC 6749 section 2.3.1)."""
CLIENT_SECRET = "s3cret:%+"


def rsa(kid: str = "one") -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


_RSA = rsa()


class FakeProvider:
    """Attributes may be changed at any time. `claims` is called with those of the next ID token, to spoil them."""

    def __init__(self, server: ThreadingHTTPServer, clock: Callable[[], float]) -> None:
        self._server = server
        self.clock = clock
        self.issuer = f"http://127.0.0.1:{server.server_port}"
        self.key: Key = _RSA
        """What it signs with."""
        self.algorithm = "RS256"
        self.published: list[Key] = [_RSA]
        self.header: dict[str, Any] = {"kid": "one"}
        self.claims: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda claims: None
        self.token: Callable[[str], str] = lambda token: token
        self.person: dict[str, Any] = {"sub": "u1", "email": "alice@example.org", "email_verified": True}
        self.userinfo: dict[str, Any] = {}
        self.auth_time: float | None = clock()
        """When the person typed a password there last; prompt=login moves it."""
        self.obeys_prompt = True
        self.amr: list[str] = ["pwd", "otp", "mfa"]
        self.acr = ""
        self.metadata: dict[str, Any] = {}
        """Put over the document; None removes a member."""
        self.iss: str | None = self.issuer
        """In the authorization response (RFC 9207)."""
        self.broken: set[str] = set()
        """Paths that answer 500."""
        self.stuck = threading.Event()
        """Set: nothing is answered until it is cleared again, or the server ends."""
        self.asked: list[str] = []
        """Paths of requests."""
        self.authorizations: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}

    def authorize(self, location: str) -> str:
        """The browser at the authorization endpoint, where somebody signs in: where it is sent back to."""
        url = urlsplit(location)
        assert f"{url.scheme}://{url.netloc}{url.path}" == f"{self.issuer}/authorize", location
        asked = {key: value for key, (value,) in parse_qs(url.query, strict_parsing=True).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        self.authorizations.append(asked)
        if asked.get("prompt") == "login" and self.obeys_prompt:
            self.auth_time = self.clock()
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        answer = {"code": code, "state": asked["state"]} | ({} if self.iss is None else {"iss": self.iss})
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    def document(self) -> dict[str, Any]:
        whole = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/end",
            "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA", "HS256", "none"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }
        return {key: value for key, value in whole.items() if value is not None}

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        if path in self.broken:
            return 500, {"error": "server_error"}
        if path == "/.well-known/openid-configuration":
            return 200, self.document()
        if path == "/keys":
            return 200, {"keys": [key.as_dict(private=False) for key in self.published]}
        if path == "/userinfo" and authorization == "Bearer access":
            return 200, self.userinfo
        if path == "/token":
            return self._exchange(form, authorization)
        return 404, {}

    def _exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        if authorization:
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            client = (unquote_plus(pair[0]), unquote_plus(pair[2]))
        else:
            client = (form.get("client_id", ""), form.get("client_secret", ""))
        if client != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            asked is None
            or challenge.rstrip(b"=").decode() != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(self.clock())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "auth_time": None if self.auth_time is None else int(self.auth_time),
            "amr": self.amr,
            "acr": self.acr or None,
            **self.person,
        }
        claims = {key: value for key, value in claims.items() if value is not None}
        claims = self.claims(claims) or claims
        header = {"alg": self.algorithm, "typ": "JWT", **self.header}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of the name EdDSA
            token = jwt.encode(header, claims, self.key, algorithms=[self.algorithm])
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": self.token(token)}

    def confuse(self) -> None:
        """Sign with the published key as a shared secret (RFC 8725 section 2.1)."""
        pem = self.published[0].as_pem(private=False)
        self.key, self.algorithm = OctKey.import_key(base64.urlsafe_b64encode(pem).decode()), "HS256"

    def use(self, algorithm: str) -> None:
        """Sign with a key of another kind."""
        kinds: dict[str, Callable[[], Key]] = {
            "ES256": lambda: ECKey.generate_key("P-256", {"kid": "new"}),
            "EdDSA": lambda: OKPKey.generate_key("Ed25519", {"kid": "new"}),
            "RS256": lambda: rsa("new"),
            "PS256": lambda: rsa("new"),
        }
        self.key, self.algorithm = kinds[algorithm](), algorithm
        self.published, self.header = [_RSA, self.key], {"kid": "new"}

    def stop(self) -> None:
        """It is down: nothing listens any more."""
        self.stuck.clear()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def provider(clock: Callable[[], float]) -> Iterator[FakeProvider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self._answer({key: value for key, (value,) in parse_qs(body, keep_blank_values=True).items()})

        def _answer(self, form: dict[str, str]) -> None:
            path = urlsplit(self.path).path
            fake.asked.append(path)
            if fake.stuck.is_set():
                ended.wait(30)
                return
            status, answer = fake.answer(path, form, self.headers.get("authorization", ""))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ended = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake = FakeProvider(server, clock)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        ended.set()
        fake.stop()
        thread.join()
