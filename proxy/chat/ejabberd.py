"""ejabberd's HTTP API (mod_http_api), command kick_user: every session of one user. Tried with 23.01.

docs/backends/ejabberd.md has the lines of its configuration.
"""

from __future__ import annotations

import base64
import json

from proxy.chat.http import Answer, at, post
from proxy.chat.kick import CannotKick, Kick, chat_user
from proxy.config.settings import EjabberdKick
from proxy.domain.model import Account

_WHO = "ejabberd"


def make(settings: EjabberdKick) -> Kick:
    url = f"{settings.url.rstrip('/')}/kick_user"
    headers = _authorization(settings)

    async def kick(account: Account) -> int:
        user, _, host = chat_user(settings.chat_user, account).partition("@")
        body = json.dumps({"user": user, "host": host}).encode()
        return _kicked(f"{_WHO} at {at(url)}", await post(_WHO, url, body, headers, settings.ca))

    return kick


def _authorization(settings: EjabberdKick) -> dict[str, str]:
    if settings.token is not None:
        return {"authorization": f"Bearer {settings.token.reveal()}"}
    if settings.password is not None:
        both = f"{settings.user}:{settings.password.reveal()}".encode()
        return {"authorization": f"Basic {base64.b64encode(both).decode()}"}
    return {}


def _kicked(where: str, answer: Answer) -> int:
    """1 when the user was there with any number of resources, else 0."""
    match answer.status:
        case 200:
            return min(1, _resources(where, answer.body))
        case 401:
            raise CannotKick(where, "does not accept our password or token (401)", "compare on_revoke with ejabberd's")
        case 403:
            raise CannotKick(where, "does not let us kick (403)", "allow kick_user in its api_permissions")
        case 404:
            raise CannotKick(where, "has no kick_user at url (404)", "write the URL of mod_http_api")
        case status:
            raise CannotKick(where, f"answered {status}", "see its log")


def _resources(where: str, body: bytes) -> int:
    """{"num_resources": 2}, and nothing but the number from newer ones."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    number = said.get("num_resources") if isinstance(said, dict) else said
    if not isinstance(number, int):
        raise CannotKick(where, "answered something else than a number of sessions", "write the URL of mod_http_api")
    return number
