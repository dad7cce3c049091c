"""Which way of kicking `on_revoke` names."""

from __future__ import annotations

from proxy.chat.kick import Kick
from proxy.config.settings import EjabberdKick, OnRevoke, ProsodyKick, WebhookKick


def make(on_revoke: OnRevoke) -> Kick:
    """The way that is configured. httpx takes 4 MB, and is loaded only where it is needed."""
    match on_revoke:
        case EjabberdKick():
            from proxy.chat import ejabberd

            return ejabberd.make(on_revoke)
        case ProsodyKick():
            from proxy.chat import prosody

            return prosody.make(on_revoke)
        case WebhookKick():
            from proxy.chat import webhook

            return webhook.make(on_revoke)
