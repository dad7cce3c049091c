"""A signed POST to whoever can end the sessions: Standard Webhooks 1.0.0 (standardwebhooks.com), symmetric key."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from datetime import UTC, datetime

from proxy.chat.http import at, post
from proxy.chat.kick import CannotKick, Kick, chat_user
from proxy.config.settings import WebhookKick
from proxy.domain.model import Account

_WHO = "the webhook"


def make(settings: WebhookKick) -> Kick:
    """Delivered is what was answered with 2xx. The answer may say {"kicked": 1}: how many chat users it threw out."""
    assert settings.secret is not None  # the configuration holds that
    key = base64.b64decode(settings.secret.reveal().removeprefix("whsec_"))

    async def kick(account: Account) -> int | None:
        number, now = f"msg_{secrets.token_hex(16)}", int(time.time())
        message = {
            "event": "kick",
            "id": number,
            "time": datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"),
            "account": account.address,
            "chat_user": chat_user(settings.chat_user, account),
        }
        body = json.dumps(message).encode()
        headers = {
            "webhook-id": number,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(key, number, now, body),
        }
        answer = await post(_WHO, settings.url, body, headers, settings.ca)
        if not 200 <= answer.status < 300:
            raise CannotKick(f"{_WHO} at {at(settings.url)}", f"answered {answer.status}", "see its log")
        return _kicked(answer.body)

    return kick


def signature(key: bytes, number: str, timestamp: int, body: bytes) -> str:
    """Over id, seconds since the epoch and body, so that an old message cannot pass as a new one."""
    signed = f"{number}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def _kicked(body: bytes) -> int | None:
    try:
        said = json.loads(body)
    except ValueError:
        return None
    number = said.get("kicked") if isinstance(said, dict) else None
    return number if type(number) is int and 0 <= number <= 1_000_000 else None
