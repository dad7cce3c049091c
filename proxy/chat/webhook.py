"""A signed POST to whoever can end the sessions: Standard Webhooks 1.0.0 (standardwebhooks.com), symmetric key."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime

from proxy.chat.http import at, post
from proxy.chat.kick import CannotKick, Kick, chat_user
from proxy.config.settings import WebhookKick
from proxy.domain import webhooks
from proxy.domain.model import Account

_WHO = "the webhook"


def make(settings: WebhookKick) -> Kick:
    """Delivered is what was answered with 2xx. The answer may say {"kicked": 1}: how many chat users it threw out."""
    assert settings.secret is not None  # the configuration holds that
    key = webhooks.key_of(settings.secret)

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
        headers = webhooks.headers(key, number, now, body)
        answer = await post(_WHO, settings.url, body, headers, settings.ca)
        if not 200 <= answer.status < 300:
            raise CannotKick(f"{_WHO} at {at(settings.url)}", f"answered {answer.status}", "see its log")
        return _kicked(answer.body)

    return kick


def _kicked(body: bytes) -> int | None:
    try:
        said = json.loads(body)
    except ValueError:
        return None
    number = said.get("kicked") if isinstance(said, dict) else None
    return number if type(number) is int and 0 <= number <= 1_000_000 else None
