"""A person with a browser at a running portal, whatever TLS there is in front of it in earnest."""

from __future__ import annotations

import html
import re
import time
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import httpx
import pyotp


class Person:
    """Keeps cookies, the Secure ones too: the pages are asked without TLS, as by the web server in front."""

    def __init__(self, port: int, url: str, *, address: str | None = None, agent: str = "Firefox/140.0") -> None:
        self.cookies: dict[str, str] = {}
        self.secrets: list[str] = []
        """What was shown once, and what only this browser has."""
        transport = httpx.HTTPTransport(local_address=address)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=30)
        parts = urlsplit(url)
        self._headers = {"origin": f"{parts.scheme}://{parts.netloc}", "user-agent": agent}
        self._last_code = 0

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._ask("GET", path, headers)

    def post(self, path: str, **form: str) -> httpx.Response:
        return self._ask("POST", path, {}, form or {"": ""})

    def sign_in(self, name: str, password: str) -> httpx.Response:
        return self.post("/sign-in", name=name, password=password)

    def enrol(self, code: str | None = None) -> None:
        """An authenticator app, and recovery codes. `code`: of the enrolment; none in portal.trusted_networks."""
        if code is not None:
            assert self.post("/enrol", code=code).headers.get("location") == "/enrol"
        key = re.search(r"secret=([A-Z2-7]+)", html.unescape(self.get("/enrol/totp").text))
        assert key is not None
        self.totp = pyotp.TOTP(key[1])
        self.secrets.append(key[1])
        done = self.post("/enrol/totp", name="phone", code=self.totp.at(int(time.time())))
        assert done.headers.get("location") == "/enrol/recovery-codes", done.text
        shown = self.get(done.headers["location"]).text
        self.recovery_codes = re.findall(r"<code>([a-z]{5}-[a-z]{5}-[a-z]{5})</code>", shown)
        self.secrets += self.recovery_codes
        assert self.post("/enrol/recovery-codes").status_code == 303

    def mint(self, name: str) -> str:
        """A new app password for mail."""
        made = self.post("/app-passwords/new", name=name, scope="imap")
        assert made.status_code == 303, made.text
        shown = re.search(r"\b([a-z]{4}(?:-[a-z]{4}){4})\b", self.get(made.headers["location"]).text)
        assert shown is not None
        self.secrets.append(shown[1])
        return shown[1]

    def _ask(
        self, method: str, path: str, headers: dict[str, str], form: dict[str, str] | None = None
    ) -> httpx.Response:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**self._headers, **({"cookie": cookie} if cookie else {}), **headers}
        encoded = {name: value.encode() for name, value in sent.items()}
        answer = self._http.request(method, path, headers=encoded, data=form)
        for header in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(header).items():
                self.cookies[name] = morsel.value
                self.secrets += [part for part in morsel.value.split(".") if len(part) > 20]
        return answer
