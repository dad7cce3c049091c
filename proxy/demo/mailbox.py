"""Mailboxes in memory, in the shape that twisted.mail.imap4's server wants."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email import message_from_bytes
from email.message import Message
from email.utils import formatdate, parsedate_to_datetime
from io import BytesIO
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred, succeed
from twisted.mail import imap4
from zope import interface

implementer: Any = interface.implementer  # type: ignore[attr-defined]

SYSTEM_FLAGS = (r"\Seen", r"\Answered", r"\Flagged", r"\Deleted", r"\Draft")

SPECIAL_USE = {"Sent": [r"\Sent"], "Drafts": [r"\Drafts"], "Trash": [r"\Trash"]}
"""RFC 6154."""


def _text(name: str | bytes) -> str:
    return name.decode("ascii", "replace") if isinstance(name, bytes) else name


@implementer(imap4.IMessagePart)
class _Part:
    """One MIME part; the whole mail is the outermost."""

    def __init__(self, raw: bytes, parsed: Message) -> None:
        self.raw = raw
        self._parsed = parsed
        self._body = raw.partition(b"\r\n\r\n")[2]

    def getHeaders(self, negate: bool, *names: str | bytes) -> dict[str, str]:
        """By lower-case name; all but `names` when `negate`."""
        wanted = {_text(name).lower() for name in names}
        found = {name.lower(): value for name, value in reversed(self._parsed.items())}
        picked = {name: str(value) for name, value in reversed(found.items()) if (name in wanted) != negate}
        return {name: value.encode("ascii", "replace").decode("ascii") for name, value in picked.items()}

    def getBodyFile(self) -> BinaryIO:
        return BytesIO(self._body)

    def getSize(self) -> int:
        return len(self.raw)

    def isMultipart(self) -> bool:
        return self._parsed.is_multipart()

    def getSubPart(self, part: int) -> _Part:
        """IndexError ends the list."""
        parts = self._parsed.get_payload() if self._parsed.is_multipart() else []
        assert isinstance(parts, list)
        child = parts[part]
        assert isinstance(child, Message)
        return _Part(child.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), child)


@implementer(imap4.IMessage, imap4.IMessageFile)
class Mail(_Part):
    """A mail as delivered; its bytes never change."""

    def __init__(self, uid: int, raw: bytes, flags: Iterable[str], date: str) -> None:
        super().__init__(raw, message_from_bytes(raw))
        self.uid = uid
        self.flags = set(flags)
        self._date = date

    def open(self) -> BinaryIO:
        """The exact bytes (imap4 would put them together again from headers and parts)."""
        return BytesIO(self.raw)

    def getUID(self) -> int:
        return self.uid

    def getFlags(self) -> list[str]:
        return sorted(self.flags)

    def getInternalDate(self) -> str:
        return self._date


@implementer(imap4.IMailbox)
class Mailbox:
    """One folder. Every connection that selected it is a listener and hears of changes at once."""

    def __init__(self) -> None:
        self._mails: list[Mail] = []
        self._next_uid = 1
        self._validity = int(time.time())
        self._listeners: list[Any] = []

    def deliver(self, raw: bytes, flags: Iterable[str] = (), date: str | None = None) -> int:
        """Add a mail (CRLF line ends) and tell every listener. Returns its UID."""
        mail = Mail(self._next_uid, raw, flags, date or formatdate(localtime=False))
        self._next_uid += 1
        self._mails.append(mail)
        for listener in self._listeners:
            listener.newMessages(len(self._mails), 0)
        return mail.uid

    # What follows is imap4.IMailbox.

    def getUIDValidity(self) -> int:
        return self._validity

    def getUIDNext(self) -> int:
        return self._next_uid

    def getUID(self, message: int) -> int:
        return self._mails[message - 1].uid

    def getMessageCount(self) -> int:
        return len(self._mails)

    def getRecentCount(self) -> int:
        return 0

    def getUnseenCount(self) -> int:
        return sum(r"\Seen" not in mail.flags for mail in self._mails)

    def isWriteable(self) -> bool:
        return True

    def destroy(self) -> None:
        self._mails.clear()

    def getHierarchicalDelimiter(self) -> str:
        return "/"

    def getFlags(self) -> list[str]:
        return list(SYSTEM_FLAGS)

    def requestStatus(self, names: Iterable[str]) -> dict[str, int]:
        answer: dict[str, int] = imap4.statusRequestHelper(self, names)  # type: ignore[no-untyped-call]
        return answer

    def addListener(self, listener: object) -> None:
        self._listeners.append(listener)

    def removeListener(self, listener: object) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def addMessage(
        self, message: BinaryIO, flags: Iterable[str] = (), date: str | bytes | None = None
    ) -> Deferred[int]:
        return succeed(self.deliver(message.read(), flags, _internal_date(date)))

    def expunge(self, only: Any = None) -> list[int]:  # noqa: ANN401 - imap4.MessageSet, of UIDs
        """Sequence numbers as the protocol counts them: each one as of the moment it is announced."""
        meant = None if only is None else {number for number, _ in self.fetch(only, uid=True)}
        gone = []
        for number in range(len(self._mails), 0, -1):
            if r"\Deleted" in self._mails[number - 1].flags and (meant is None or number in meant):
                del self._mails[number - 1]
                gone.append(number)
        return gone

    def fetch(self, messages: Any, uid: bool) -> list[tuple[int, Mail]]:  # noqa: ANN401 - imap4.MessageSet
        if uid:
            messages.last = self._mails[-1].uid if self._mails else 0
            return [(number, mail) for number, mail in enumerate(self._mails, 1) if mail.uid in messages]
        messages.last = len(self._mails)
        return [(number, mail) for number, mail in enumerate(self._mails, 1) if number in messages]

    def store(self, messages: Any, flags: Iterable[str], mode: int, uid: bool) -> dict[int, list[str]]:  # noqa: ANN401
        answer = {}
        for number, mail in self.fetch(messages, uid):
            if mode == 0:
                mail.flags = set(flags)
            elif mode > 0:
                mail.flags |= set(flags)
            else:
                mail.flags -= set(flags)
            answer[number] = mail.getFlags()
        return answer


def _internal_date(date: str | bytes | None) -> str | None:
    """APPEND's `24-Nov-2026 08:00:00 +0000` or a mail's own date, as RFC 5322 has it; None when it is neither."""
    if date is None:
        return None
    text = _text(date).strip()
    try:
        return formatdate(parsedate_to_datetime(text.replace("-", " ", 2) if text[:1].isdigit() else text).timestamp())
    except ValueError:
        return None


@implementer(imap4.IMailboxInfo)
class Listed:
    """A folder as LIST shows it: with attributes of its own in the place of a mail's flags."""

    def __init__(self, attributes: list[str]) -> None:
        self._attributes = attributes

    def getFlags(self) -> list[str]:
        return self._attributes

    def getHierarchicalDelimiter(self) -> str:
        return "/"


@implementer(imap4.IAccount, imap4.INamespacePresenter)
class Folders:
    """The folders of one account. INBOX is known by any spelling (RFC 3501, 5.1), others by their own."""

    def __init__(self) -> None:
        self.inbox = Mailbox()
        self._boxes = {"INBOX": self.inbox, "Sent": Mailbox(), "Drafts": Mailbox(), "Trash": Mailbox()}
        self._subscribed = set(self._boxes)

    @staticmethod
    def _key(name: str) -> str:
        return "INBOX" if name.upper() == "INBOX" else name.rstrip("/")

    def select(self, name: str, rw: bool = True) -> Mailbox | None:
        return self._boxes.get(self._key(name))

    def addMailbox(self, name: str, mbox: Mailbox | None = None) -> bool:
        return self.create(name)

    def create(self, pathspec: str) -> bool:
        key = self._key(pathspec)
        if not key or key in self._boxes:
            return False
        self._boxes[key] = Mailbox()
        return True

    def delete(self, name: str) -> None:
        if self._boxes.pop(self._key(name), None) is None:
            raise imap4.NoSuchMailbox(name)

    def rename(self, oldname: str, newname: str) -> None:
        old, new = self._key(oldname), self._key(newname)
        if old not in self._boxes:
            raise imap4.NoSuchMailbox(oldname)
        if new in self._boxes:
            raise imap4.MailboxCollision(newname)
        for key in [key for key in self._boxes if key == old or key.startswith(old + "/")]:
            self._boxes[new + key[len(old) :]] = self._boxes.pop(key)

    def isSubscribed(self, name: str) -> bool:
        return self._key(name) in self._subscribed

    def subscribe(self, name: str) -> None:
        self._subscribed.add(self._key(name))

    def unsubscribe(self, name: str) -> None:
        self._subscribed.discard(self._key(name))

    def listMailboxes(self, ref: str, wildcard: str) -> list[tuple[str, Listed]]:
        if not wildcard:  # what separates levels is asked (RFC 3501, 6.3.8)
            return [("", Listed([r"\Noselect"]))]
        pattern: Any = imap4.wildcardToRegexp(ref + wildcard, "/")
        return [(name, Listed(SPECIAL_USE.get(name, []))) for name in self._boxes if pattern.fullmatch(name)]

    def getPersonalNamespaces(self) -> list[list[bytes]]:
        return [[b"", b"/"]]

    def getSharedNamespaces(self) -> None:
        return None

    def getUserNamespaces(self) -> None:
        return None
