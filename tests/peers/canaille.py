"""Canaille, an OpenID provider with password and one-time code, and somebody who signs in there with a browser."""

from __future__ import annotations

import base64
import json
import re
import secrets
import sys
from pathlib import Path

import httpx
import pyotp
from joserfc.jwk import RSAKey

from tests.peers.process import Server, free_ports

SECRET = "a client's secret: + %"
PERSON = {
    "name": "alice",
    "email": "alice@example.org",
    "password": "correct horse",
    "otp": base64.b32encode(secrets.token_hex(10).encode()).decode(),
}


class Canaille:
    """At `issuer` once started. It keeps its people over a restart, not who is signed in."""

    def __init__(self, root: Path, portal: str, *people: dict[str, str]) -> None:
        (port,) = free_ports(1)
        self.issuer = f"http://127.0.0.1:{port}"
        key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        client = {"id": "sidegate", "secret": SECRET, "redirect_uri": f"{portal}/sign-in/callback", "back": portal}
        settings = {"port": port, "key": key.as_dict(private=True), "client": client, "people": people or [PERSON]}
        self._settings = root / "canaille.json"
        self._settings.write_text(json.dumps(settings))
        self._port = port
        self._server: Server | None = None

    def start(self) -> Canaille:
        command = [sys.executable, "-m", "tests.peers.canaille_server", str(self._settings)]
        self._server = Server(command, self._settings.with_suffix(".log"), [self._port])
        self._server.wait(30)
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()


def sign_in(browser: httpx.Client, location: str, person: dict[str, str] = PERSON) -> str:
    """Do what the pages at `location` ask for; where they send the browser in the end, which is no page of theirs."""
    start = httpx.URL(location)
    answer = browser.get(start)
    asked: list[str] = []
    while True:
        while answer.is_redirect:
            to = answer.url.join(answer.headers["location"])
            if to.netloc != start.netloc:
                return str(to)
            answer = browser.get(to)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        answers = {"login": person["name"], "password": person["password"], "otp": pyotp.TOTP(person["otp"]).now()}
        (field,) = [name for name in answers if re.search(rf'<input[^>]* name="{name}"', answer.text)]
        assert field not in asked, f"asked for {field} twice: {answer.text}"
        asked.append(field)
        token = re.search(r'name="csrf_token" value="([^"]*)"', answer.text)
        assert token is not None, answer.text
        answer = browser.post(answer.url, data={field: answers[field], "csrf_token": token[1]})
