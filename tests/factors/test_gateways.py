"""What sends to phone numbers, against a real HTTP server: down, slow, broken, leading elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from threading import Event

import pytest

from proxy.config.factor_settings import Webhook
from proxy.domain.phone_codes import Message
from proxy.domain.secret import Secret
from proxy.domain.webhooks import signature
from proxy.factors import by_apprise, gateways, webhook
from proxy.factors.gateways import Gateway, NotTaken
from tests.support.phone_gateway import KEY, WHSEC, PhoneGateway, phone_gateway

MESSAGE = Message("+34612345678", "Su código: 123456\n\n@host #123456", "es", "sms")
CALL = Message("+34612345678", "1. 2. 3", "en", "call", "123456")
NOW = 1_800_000_000.5


@pytest.fixture
def gateway() -> Iterator[PhoneGateway]:
    with phone_gateway() as opened:
        yield opened


def by_webhook(url: str) -> Gateway:
    return webhook.make(Webhook(url, WHSEC), lambda: NOW, os.urandom)


def failure(send: Gateway) -> NotTaken:
    async def ask() -> None:
        await send(MESSAGE)

    with pytest.raises(NotTaken) as caught:
        asyncio.run(ask())
    assert MESSAGE.to not in str(caught.value)
    assert "123456" not in str(caught.value)
    return caught.value


def sent(send: Gateway, message: Message) -> None:
    async def ask() -> None:
        await send(message)

    asyncio.run(ask())


def test_the_message_is_signed_json(gateway: PhoneGateway) -> None:
    sent(by_webhook(gateway.url), MESSAGE)
    sent(by_webhook(gateway.url), CALL)
    assert gateway.taken == [
        {"to": MESSAGE.to, "text": MESSAGE.text, "language": "es", "kind": "sms"},
        {"to": MESSAGE.to, "text": "1. 2. 3", "language": "en", "kind": "call", "digits": "123456"},
    ]
    assert gateway.headers["content-type"] == "application/json"
    assert gateway.headers["webhook-timestamp"] == "1800000000"
    assert gateway.headers["webhook-id"].startswith("msg_")
    assert (
        signature(KEY, "msg_x", 1, b"{}") != signature(KEY, "msg_x", 2, b"{}") != signature(b"x" * 32, "msg_x", 2, b"")
    )


def test_another_secret_is_refused_by_a_gateway_that_checks(gateway: PhoneGateway) -> None:
    other = Secret("whsec_" + "A" * 44)
    assert "answered 401" in str(failure(webhook.make(Webhook(gateway.url, other), lambda: NOW, os.urandom)))
    assert gateway.taken == []


@pytest.mark.parametrize("status", [302, 307, 400, 500, 503])
def test_all_but_2xx_is_not_taken_and_no_redirect_is_followed(gateway: PhoneGateway, status: int) -> None:
    gateway.status = status
    failed = failure(by_webhook(f"{gateway.url}?key=in-the-query"))
    assert str(failed) == f"the webhook at http://127.0.0.1:{gateway.port} answered {status}"
    assert not failed.perhaps
    assert gateway.asked == ["/send?key=in-the-query"]


def test_a_gateway_that_is_down(gateway: PhoneGateway) -> None:
    url = gateway.url.replace(str(gateway.port), "9")  # discard: nobody listens
    failed = failure(by_webhook(url))
    assert "cannot be reached" in str(failed)
    assert not failed.perhaps


def test_a_slow_gateway_may_have_sent_it(gateway: PhoneGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gateways.WITHIN == 5
    monkeypatch.setattr(webhook, "WITHIN", 0.2)
    gateway.slow = Event()
    failed = failure(by_webhook(gateway.url))
    assert "did not answer within 0.2 s" in str(failed)
    assert failed.perhaps


def test_apprise_puts_the_number_into_its_url(gateway: PhoneGateway) -> None:
    gateway.signed = False
    sent(by_apprise.make(Secret(f"json://127.0.0.1:{gateway.port}/{{to}}")), MESSAGE)
    assert gateway.asked[0].rstrip("/") == "/34612345678"
    assert gateway.taken[0]["message"].split() == MESSAGE.text.split()


def test_what_apprise_cannot_do_is_not_taken(gateway: PhoneGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.signed, gateway.status = False, 500
    send = by_apprise.make(Secret(f"json://127.0.0.1:{gateway.port}/{{to}}"))
    assert "did not take it" in str(failure(send))
    assert "knows no service" in str(failure(by_apprise.make(Secret("nonsense://{to}"))))
    monkeypatch.setattr(by_apprise, "WITHIN", 0.2)
    gateway.slow = Event()
    failed = failure(send)
    gateway.slow.set()
    assert failed.perhaps
