"""The few mails that a demo mailbox starts with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

_MAILS = (
    (
        "Welcome to the sidegate demo",
        "This mailbox lives in the memory of the demo's own IMAP server. You read it\n"
        "through sidegate, which let you in because your mail program presented an\n"
        "app password.\n\n"
        "The server behind has never heard of that app password: sidegate logged in\n"
        "for you.\n",
    ),
    (
        "What is an app password?",
        "A secret that sidegate minted for one app of one person: this mail program\n"
        "on this machine.\n\n"
        "It can be revoked alone. When it is, its live sessions end within a second,\n"
        "and every other app of yours goes on as before.\n",
    ),
    (
        "Try the account password",
        "It gets nobody in. The refusal says in words where to get an app password,\n"
        "and most mail programs show them. The demo printed a command for that, too.\n",
    ),
)


def welcome_mails(address: str) -> list[bytes]:
    """Mails to `address`, oldest first, with CRLF line ends."""
    now = datetime.now(UTC)
    mails = []
    for age, (subject, text) in zip(range(len(_MAILS), 0, -1), _MAILS, strict=True):
        mail = EmailMessage(policy=SMTP)
        mail["From"] = "sidegate demo <demo@example.org>"
        mail["To"] = address
        mail["Subject"] = subject
        mail["Date"] = format_datetime(now - timedelta(hours=age))
        mail["Message-ID"] = make_msgid(domain="demo.sidegate.invalid")
        mail.set_content(text)
        mails.append(mail.as_bytes())
    return mails
