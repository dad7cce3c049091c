"""Messages to browsers, over a real push service: what it gets, what becomes of its answers, where nothing is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey

from proxy.notices import web_push
from proxy.notices.encryption import decoded, server_key
from proxy.notices.web_push import SERVICES, Sent, WebPush, message, origin_of
from tests.support.push_service import PushService, Subscriber, encoded, push_service

NOW = 1_800_000_000.0
KEY = server_key(bytes(range(48)))


@pytest.fixture
def service() -> Iterator[PushService]:
    with push_service() as started:
        yield started


def send(service: PushService, subscription: dict[str, str], *messages: bytes, **more: Any) -> list[Sent]:
    """Each message in turn, by a sender to whom this service is listed."""

    async def ask() -> list[Sent]:
        sender = WebPush(KEY, "mailto:postmaster@example.org", [service.origin], lambda: NOW)
        told = {"ttl": 300, "urgency": "high", **more}
        said = [await sender.send(subscription, one, **told) for one in messages]
        await sender.close()
        return said

    return asyncio.run(ask())


def test_what_the_service_gets_and_the_browser_reads(service: PushService) -> None:
    browser = service.subscriber()
    text = message("Sign in?", "Öffnen", path="/phone", tag="challenge")
    assert send(service, browser.subscription, text, topic="challenge") == [Sent.TAKEN]
    (got,) = service.wait(1)
    assert got.path == "/send/abc"
    assert {name: got.headers[name] for name in ("ttl", "urgency", "topic", "content-encoding")} == {
        "ttl": "300",
        "urgency": "high",
        "topic": "challenge",
        "content-encoding": "aes128gcm",
    }
    assert json.loads(browser.decrypt(got.body)) == {
        "title": "Sign in?",
        "body": "Öffnen",
        "path": "/phone",
        "tag": "challenge",
    }
    assert b"Sign in" not in got.body


def test_the_service_can_tell_whose_message_it_is(service: PushService) -> None:
    send(service, service.subscriber().subscription, b"x")
    (got,) = service.wait(1)
    scheme, _, rest = got.headers["authorization"].partition(" ")
    given = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert scheme == "vapid"
    assert decoded(given["k"]) == KEY.public
    x, y = KEY.public[1:33], KEY.public[33:]
    public = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y)})
    claims = jwt.decode(given["t"], public, algorithms=["ES256"]).claims
    assert claims == {"aud": service.origin, "exp": int(NOW) + 12 * 3600, "sub": "mailto:postmaster@example.org"}
    assert "topic" not in got.headers


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (201, Sent.TAKEN),
        (202, Sent.TAKEN),
        (404, Sent.GONE),
        (410, Sent.GONE),
        (400, Sent.FAILED),
        (403, Sent.FAILED),
        (413, Sent.FAILED),
        (429, Sent.FAILED),
        (500, Sent.FAILED),
    ],
)
def test_what_its_answers_mean(service: PushService, status: int, sent: Sent) -> None:
    service.answer = status
    assert send(service, service.subscriber().subscription, b"x") == [sent]


def test_it_leads_nowhere_else(service: PushService) -> None:
    with push_service() as inside:
        service.answer, service.more = 307, f"Location: {inside.origin}/secret\r\n"
        assert send(service, service.subscriber().subscription, b"x") == [Sent.FAILED]
        assert inside.got == []


def test_one_that_is_silent_is_given_up(service: PushService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_push, "WITHIN", 0.2)
    service.answer = None
    assert send(service, service.subscriber().subscription, b"x") == [Sent.FAILED]


def test_one_that_is_down(service: PushService) -> None:
    subscription = service.subscriber().subscription
    service.close()
    assert send(service, subscription, b"x") == [Sent.FAILED]


def test_nothing_is_sent_to_who_is_not_listed(service: PushService) -> None:
    with push_service() as inside:
        assert send(service, inside.subscriber().subscription, b"x") == [Sent.GONE]
        assert send(service, {}, b"x") == [Sent.GONE]
        damaged = service.subscriber().subscription | {"p256dh": "AAAA"}
        assert send(service, damaged, b"x") == [Sent.GONE]
        assert service.got == inside.got == []


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("https://fcm.googleapis.com/fcm/send/x:y", "https://fcm.googleapis.com"),
        ("https://FCM.googleapis.com:443/fcm/send/x", "https://fcm.googleapis.com"),
        ("https://wns2-par02p.notify.windows.com/w/?token=x", "https://wns2-par02p.notify.windows.com"),
        ("https://updates.push.services.mozilla.com/wpush/v2/x", "https://updates.push.services.mozilla.com"),
        ("http://127.0.0.1:8085/x", "http://127.0.0.1:8085"),
        ("http://127.0.0.1:8086/x", None),
        ("http://fcm.googleapis.com/x", None),
        ("https://fcm.googleapis.com:8443/x", None),
        ("https://fcm.googleapis.com@127.0.0.1/x", None),
        ("https://fcm.googleapis.com:x@127.0.0.1/x", None),
        ("https://127.0.0.1\\@fcm.googleapis.com/x", None),
        ("https://fcm.googleapis.com.example.net/x", None),
        ("https://a.b.notify.windows.com/x", None),
        ("https://notify.windows.com/x", None),
        ("https://*.notify.windows.com.example.net/", None),
        ("https://[::1]/x", None),
        ("https://169.254.169.254/latest/meta-data", None),
        ("https://fcm.googleapis.com/\r\nHost: x", None),
        ("https://fcm.googleapis.com/é", None),
        ("https://fcm.googleapis.com:99999/", None),
        ("https://fcm.googleapis.com/" + "x" * 2048, None),
        ("file:///etc/passwd", None),
        ("//fcm.googleapis.com/x", None),
        ("", None),
    ],
)
def test_where_an_endpoint_is(endpoint: str, origin: str | None) -> None:
    assert origin_of(endpoint, [*SERVICES, "http://127.0.0.1:8085"]) == origin


def test_a_browser_subscribes_with_the_public_key() -> None:
    sender = WebPush(KEY, "https://login.example.org", [], lambda: NOW)
    raw = decoded(sender.public_key)
    assert ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    assert sender.accepts("https://fcm.googleapis.com/x")
    assert not sender.accepts(Subscriber("https://example.net/x").endpoint)
