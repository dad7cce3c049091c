"""Messages to phone numbers through one of the services that Apprise speaks to (sidegate[notify]).

Apprise is synchronous, and says of a failure only that it was one; it is imported where it is configured only.
"""

from __future__ import annotations

import asyncio
import logging

import apprise

from proxy.domain.phone_codes import Message
from proxy.domain.secret import Secret
from proxy.factors.gateways import WITHIN, Gateway, NotTaken

_NAME = "the service that Apprise speaks to"


def make(url: Secret) -> Gateway:
    """`url` has {to} where the number goes, without its plus sign."""
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its lines have numbers and messages in them

    def open_service(number: str) -> apprise.Apprise:
        """The first time this loads all that Apprise can speak."""
        service = apprise.Apprise()
        if not service.add(url.reveal().replace("{to}", number.lstrip("+"))):
            raise NotTaken("Apprise", "knows no service with the configured URL")
        return service

    def notify(service: apprise.Apprise, text: str) -> bool:
        return bool(service.notify(body=text, body_format=apprise.NotifyFormat.TEXT))

    async def send(message: Message) -> None:
        service = await asyncio.to_thread(open_service, message.to)
        try:
            async with asyncio.timeout(WITHIN):
                taken = await asyncio.to_thread(notify, service, message.text)
        except TimeoutError:
            raise NotTaken(_NAME, f"did not answer within {WITHIN:g} s", perhaps=True) from None
        if not taken:
            raise NotTaken(_NAME, "did not take it")

    return send
