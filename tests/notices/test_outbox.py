"""The outbox, sent to real mail servers that may be down, slow or unwilling."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from proxy.config.settings import Mail
from proxy.domain.audit import Event
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.domain.notices import KEEP_TRYING, Kind
from proxy.notices.mailer import Mailer
from proxy.notices.outbox import REST, Outbox
from proxy.notices.telling import tell
from proxy.notices.web_push import Sent
from proxy.portal import texts
from proxy.store import accounts, audit, factors, notices, people
from proxy.store.engine import Store
from proxy.store.factors import NewFactor
from proxy.store.threads import StoreThreads
from tests.notices.post_office import PostOffice, post_office
from tests.store import rows

NOW = 1_790_000_000.0


class Post:
    """Outboxes over one store, and the hands of a clock."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW
        self.push: Phones | None = None
        with store.writing() as c:
            self.alice = rows.account(c)
            self.root = rows.account(c, "root@example.org", admin=True)

    def outbox(self, settings: Mail | None, threads: StoreThreads, **more: float) -> Outbox:
        mailer = None if settings is None else Mailer(settings, "Example Mail", "login.example.org", **more)
        outbox = Outbox(threads, texts.load(), lambda: self.now)
        outbox.use(mailer, self.push, node="node1", site="Example Mail", host="login.example.org")
        return outbox

    def run(self, settings: Mail | None, *waits: float, **more: float) -> list[int]:
        """Rounds of one outbox, with these seconds before each; how many were taken in each."""
        threads = StoreThreads(self.store)
        outbox = self.outbox(settings, threads, **more)

        async def rounds() -> list[int]:
            taken = []
            for wait in waits or (0.0,):
                self.now += wait
                taken.append(await outbox.deliver())
            await threads.close()
            return taken

        return asyncio.run(rounds())

    def tell(self, kind: Kind = Kind.APP_PASSWORD_CREATED, account: Account | None = None, **facts: str) -> None:
        with self.store.writing() as c:
            tell(c, account or self.alice, kind, facts, self.now)

    def write(self, fn: Callable[..., Any], *args: Any, **more: Any) -> None:
        with self.store.writing() as c:
            fn(c, *args, **more)

    def told(self, account: Account | None = None) -> list[tuple[str, str, bool]]:
        with self.store.reading() as c:
            found = notices.last(c, (account or self.alice).id, 99)
            return [(one.kind, one.channel, one.sent is not None) for one in reversed(found)]

    def events(self) -> list[tuple[str, str | None, str | None, str | None]]:
        with self.store.reading() as c:
            return [(e.event, e.account, e.reason, e.detail) for e in (row.event for row in audit.read(c))]


class Phones:
    """A push service that takes everything, or says what it is told to."""

    def __init__(self, *answers: Sent) -> None:
        self.answers = list(answers)
        self.shown: list[dict[str, str]] = []

    async def send(self, subscription: Mapping[str, str], payload: bytes, **more: Any) -> Sent:
        self.shown.append({"to": subscription["endpoint"], **json.loads(payload)})
        return self.answers.pop(0) if self.answers else Sent.TAKEN


def with_phone(post: Post) -> None:
    public = {"endpoint": "https://push.example/1", "p256dh": "x", "auth": "y"}
    post.write(factors.add, post.alice.id, NewFactor(FactorKind.PUSH, "Phone", public=public), NOW)


@pytest.fixture
def post(store: Store) -> Post:
    return Post(store)


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as opened:
        yield opened


def test_a_notice_in_the_mailbox(post: Post, office: PostOffice) -> None:
    post.tell(name="Phone", agent="Firefox (Linux)", address="192.0.2.7", by="operator", app_password_id="7")
    assert post.run(office.settings(), 0, 3600) == [1, 0]
    (mail,) = office.mails
    assert mail["to"] == "alice@example.org"
    assert mail["subject"] == "New app password “Phone” – Example Mail"
    assert mail["message-id"] == f"<1.{NOW:.0f}@login.example.org>"
    body = mail.get_content()
    assert body.startswith("The app password “Phone” was created.")
    for line in ("Browser: Firefox (Linux)", "From: 192.0.2.7", "By: your administrator", "Account: alice@example.org"):
        assert line in body.splitlines()
    assert "open the portal as you always do" in " ".join(body.split())
    assert "http" not in body
    assert post.told() == [("app_password_created", "mailbox", True)]


def test_in_the_persons_language(post: Post, office: PostOffice) -> None:
    post.write(people.change, post.alice.id, language="es")
    post.tell(name="Teléfono", by="operator")
    post.write(people.change, post.root.id, language="xx")
    post.tell(account=post.root, name="Phone")
    post.run(office.settings())
    spanish, english = office.mails
    assert spanish["subject"] == "Nueva contraseña de aplicación “Teléfono” – Example Mail"
    body = spanish.get_content()
    assert "Por: su administrador" in body.splitlines()
    assert "abra el portal como siempre" in " ".join(body.split())
    assert english["subject"] == "New app password “Phone” – Example Mail"


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("language", ["en", "es"])
def test_no_mail_has_a_link_or_breaks_on_what_strangers_say(
    post: Post, office: PostOffice, kind: Kind, language: str
) -> None:
    nasty = "x\r\nBcc: eve@example.net\r\n\r\n%(name)s <a href=x>" + "y" * 5000
    facts = dict.fromkeys(("name", "agent", "address", "account", "program", "network", "reason", "gateway"), nasty)
    post.write(people.change, post.alice.id, language=language)
    post.write(notices.add, post.alice.id, kind, channel="mailbox", recipient="alice@example.org", text=facts, now=NOW)
    post.write(notices.add, post.alice.id, kind, channel="mailbox", recipient="alice@example.org", text={}, now=NOW)
    assert post.run(office.settings()) == [2]
    for (to, raw), mail in zip(office.taken, office.mails, strict=True):
        assert (to, mail["bcc"], mail["to"]) == ("alice@example.org", None, "alice@example.org")
        assert b"http" not in raw
        assert len(raw) < 10_000
        assert mail["auto-submitted"] == "auto-generated"


def test_of_two_senders_one_sends(post: Post, office: PostOffice) -> None:
    for n in range(3):
        post.tell(name=str(n))
    threads = [StoreThreads(post.store), StoreThreads(post.store)]
    outboxes = [post.outbox(office.settings(), one) for one in threads]

    async def both() -> int:
        taken = sum(await asyncio.gather(*(outbox.deliver() for outbox in outboxes)))
        for one in threads:
            await one.close()
        return taken

    assert asyncio.run(both()) == 3
    assert sorted(str(mail["subject"])[:22] for mail in office.mails) == [f"New app password “{n}” –" for n in range(3)]


def test_retried_until_the_server_takes_it(post: Post, office: PostOffice) -> None:
    """Greylisting, a full disk: a minute, five, half an hour, then every two hours."""
    post.tell(name="Phone")
    office.replies["RCPT"] = "451 4.2.0 later"
    waits = (0, 59, 1, 299, 1, 1799, 1, 7199, 1)
    assert post.run(office.settings(), *waits) == [0] * len(waits)
    assert len(office.tried) == 5
    office.replies.clear()
    assert post.run(office.settings(), 7199, 1) == [0, 1]
    assert len({str(mail["message-id"]) for mail in office.mails}) == 1


def test_a_failing_server_is_said_once_and_never_by_mail(post: Post, office: PostOffice) -> None:
    office.replies["MAIL"] = "451 4.3.0 sick"
    for n in range(3):
        post.tell(name=str(n))
    assert post.run(office.settings(), 0, 1, REST, REST) == [0, 0, 0, 0]
    failures = [event for event in post.events() if event[0] == Event.NOTICE_FAILED]
    assert failures == [("notice_failed", None, "mail server", "451 4.3.0 sick")]
    assert post.told(post.root) == [("mail_failing", "page", True)]
    office.replies.clear()
    post.run(office.settings(), 7200)
    assert len(office.taken) == 3
    assert {to for to, _ in office.taken} == {"alice@example.org"}


def test_a_server_that_is_down_holds_only_the_first_up(post: Post, office: PostOffice) -> None:
    with post_office() as gone:
        settings = gone.settings()
    for n in range(3):
        post.tell(name=str(n))
    assert post.run(settings, 0, REST - 1) == [0, 0]
    with post.store.reading() as c:
        assert [notice.tries for notice in notices.last(c, post.alice.id, 9)] == [0, 0, 1]
    assert post.run(office.settings(), 1) == [3]


def test_given_up_after_two_days(post: Post, office: PostOffice) -> None:
    post.tell(name="Phone")
    office.replies["RCPT"] = "451 4.2.0 later"
    post.run(office.settings(), 0, KEEP_TRYING)
    assert post.told() == [("app_password_created", "page", True)]
    assert post.events()[-1] == (
        "notice_failed",
        "alice@example.org",
        None,
        "app_password_created over mailbox: 451 4.2.0 later",
    )
    assert post.run(office.settings(), 7 * 86400.0) == [0]


def test_where_nobody_is_the_next_channel_follows_at_once(post: Post, office: PostOffice) -> None:
    post.write(people.change, post.alice.id, recovery_address="gone@example.net")
    post.tell(name="Phone")
    office.replies["RCPT gone@example.net"] = "550 5.1.1 nobody"
    assert post.run(office.settings(), 0, 0) == [0, 1]
    assert [to for to, _ in office.taken] == ["alice@example.org"]
    assert [event for event in post.events() if event[0] == Event.NOTICE_FAILED] == []


def test_on_the_phone_first(post: Post, office: PostOffice) -> None:
    with_phone(post)
    post.push = Phones()
    post.write(people.change, post.alice.id, language="es")
    post.tell(name="Portátil")
    assert post.run(office.settings()) == [1]
    assert post.push.shown == [
        {
            "to": "https://push.example/1",
            "title": "Nueva contraseña de aplicación “Portátil”",
            "body": "Se creó la contraseña de aplicación “Portátil”. El programa que la tiene abre alice@example.org.",
            "path": "/history",
            "tag": "notice-1",
        }
    ]
    assert office.tried == []
    assert post.told() == [("app_password_created", "push", True)]


@pytest.mark.parametrize("answer", [Sent.GONE, Sent.FAILED])
def test_what_a_phone_does_not_get_is_mailed_at_once(post: Post, office: PostOffice, answer: Sent) -> None:
    with_phone(post)
    post.push = Phones(answer)
    post.write(people.change, post.alice.id, recovery_address="alice@example.net")
    post.tell(name="Laptop")
    assert post.run(office.settings(), 0, 0) == [0, 1]
    assert office.tried == ["alice@example.net"]


def test_admins_hear_of_failing_mail_on_their_phones(post: Post, office: PostOffice) -> None:
    public = {"endpoint": "https://push.example/1"}
    post.write(factors.add, post.root.id, NewFactor(FactorKind.PUSH, "Phone", public=public), NOW)
    post.push = Phones()
    office.replies["MAIL"] = "451 4.3.0 sick"
    post.tell(name="Laptop")
    post.run(office.settings(), 0, 1)
    assert [one["title"] for one in post.push.shown] == ["Mails to people cannot be sent"]


def test_a_reset_is_told_everywhere_and_only_once_where_an_address_is_gone(post: Post, office: PostOffice) -> None:
    post.write(people.change, post.alice.id, recovery_address="gone@example.net")
    post.tell(Kind.FACTORS_RESET)
    post.write(people.change, post.alice.id, recovery_address="thief@example.net")
    office.replies["RCPT gone@example.net"] = "550 5.1.1 nobody"
    assert post.run(office.settings(), 0, 0) == [1, 0]
    assert office.tried == ["gone@example.net", "alice@example.org"]


def test_without_a_mail_server_it_stays_on_the_page(post: Post) -> None:
    post.tell(name="Phone")
    post.run(None, 0, 0)
    assert post.told() == [("app_password_created", "page", True)]
    assert post.events() == []


def test_who_is_disabled_is_told_nothing(post: Post, office: PostOffice) -> None:
    post.tell(name="Phone")
    post.write(accounts.set_enabled, post.alice.id, False)
    assert post.run(office.settings()) == [0]
    assert office.tried == []


def test_it_runs_until_it_is_stopped_and_takes_what_comes(post: Post, office: PostOffice) -> None:
    threads = StoreThreads(post.store)

    async def run() -> None:
        task = asyncio.create_task(post.outbox(office.settings(), threads).run())
        await threads.write(tell, post.alice, Kind.SIGNED_IN, {}, post.now)
        assert await asyncio.to_thread(office.something.wait, 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await threads.close()

    asyncio.run(run())


def test_a_recipient_that_is_no_address_is_sent_nothing(post: Post, office: PostOffice) -> None:
    bad = "alice@example.org\r\nRCPT TO:<eve@example.net>"
    post.write(notices.add, post.alice.id, "signed_in", channel="recovery", recipient=bad, text={}, now=NOW)
    assert post.run(office.settings(), 0, 0) == [0, 1]
    assert office.tried == ["alice@example.org"]
