"""The demo's IMAP backend: Twisted's server with its gaps filled, on loopback and for the demo only.

It lets in the master user on behalf of any account (SASL PLAIN with an authzid), as a Dovecot with `master=yes` does.
twisted.mail.imap4 stays behind the front, which never passes on what CVE-2026-115774 needs before login.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import Factory
from twisted.mail import imap4

from proxy.demo.mailbox import Folders, Mailbox
from proxy.domain.secret import Secret

# The base classes are untyped.
_ServerBase: Any = imap4.IMAP4Server
_PlainBase: Any = imap4.PLAINCredentials


class ImapBackend(Factory):
    """Serves the folders of `accounts` (by address) to the master user."""

    noisy = False

    def __init__(self, accounts: Mapping[str, Folders], master: str, password: Secret) -> None:
        self._accounts = accounts
        self._master = master
        self._password = password

    def buildProtocol(self, addr: object) -> _Server:
        server = _Server()
        server.portal = self
        return server

    def login(self, credentials: _Plain, mind: None, interface: object) -> Deferred[tuple[object, Folders, object]]:
        """The part of twisted.cred.portal.Portal that the server calls."""
        folders = self._accounts.get(credentials.authzid.decode("utf-8", "replace").lower())
        user = hmac.compare_digest(credentials.username, self._master.encode())
        password = hmac.compare_digest(credentials.password, self._password.reveal().encode())
        if not (user and password) or folders is None:
            return fail(UnauthorizedLogin())
        return succeed((interface, folders, lambda: None))


class _Plain(_PlainBase):  # type: ignore[misc]
    """SASL PLAIN (RFC 4616); the base class throws the authzid away."""

    authzid = b""

    def setResponse(self, response: bytes) -> None:
        super().setResponse(response)
        self.authzid = response.split(b"\0")[0]


class _Server(_ServerBase):  # type: ignore[misc]
    mbox: Mailbox | None
    """The folder that is selected."""
    IDENT = b"sidegate demo backend"
    POSTAUTH_TIMEOUT = 35 * 60

    def __init__(self) -> None:
        super().__init__(chal={b"PLAIN": _Plain})

    def capabilities(self) -> dict[bytes, Any]:
        known: dict[bytes, Any] = super().capabilities()
        return {**known, b"ID": None, b"SPECIAL-USE": None, b"UIDPLUS": None, b"UNSELECT": None}

    def sendPositiveResponse(self, tag: bytes | None = None, message: bytes = b"") -> None:
        if message == b"Authentication successful":
            message = b"[CAPABILITY " + b" ".join(self.listCapabilities()) + b"] Logged in"
        super().sendPositiveResponse(tag, message)

    def do_LOGIN(self, tag: bytes, user: bytes, passwd: bytes) -> None:
        self.sendNegativeResponse(tag, b"[AUTHENTICATIONFAILED] Use AUTHENTICATE PLAIN")

    unauth_LOGIN = (do_LOGIN, _ServerBase.arg_astring, _ServerBase.arg_finalastring)

    def do_ID(self, tag: bytes, parameters: bytes) -> None:
        self.sendUntaggedResponse(b'ID ("name" "sidegate demo backend")')
        self.sendPositiveResponse(tag, b"ID completed")

    unauth_ID = auth_ID = select_ID = (do_ID, _ServerBase.arg_line)

    def _stringLiteral(self, size: int) -> Any:  # noqa: ANN401 - a Deferred of what the parser wants
        return super()._stringLiteral(_length(size))

    def _fileLiteral(self, size: int) -> Any:  # noqa: ANN401
        return super()._fileLiteral(_length(size))

    def _cbAppendGotMailbox(
        self, mbox: Mailbox | None, tag: bytes, flags: list[bytes] | None, date: bytes | None, message: BinaryIO
    ) -> None:
        """The base class fails without a flag list and without a mailbox, and announces the mail twice."""
        if mbox is None:
            self.sendNegativeResponse(tag, b"[TRYCREATE] No such mailbox")
        else:
            mbox.addMessage(message, [flag.decode("ascii", "replace") for flag in flags or ()], date)
            at = mbox.getUIDValidity(), mbox.getUIDNext() - 1
            self.sendPositiveResponse(tag, b"[APPENDUID %d %d] APPEND completed" % at)

    def _cbCopySelectedMailbox(self, mbox: Mailbox | None, tag: bytes, messages: Any, mailbox: str, uid: int) -> None:  # noqa: ANN401
        if mbox is None:
            self.sendNegativeResponse(tag, b"[TRYCREATE] No such mailbox")
            return
        assert self.mbox is not None
        copied = [
            (mail.uid, mbox.deliver(mail.raw, mail.flags, mail.getInternalDate()))
            for _, mail in self.mbox.fetch(messages, bool(uid))
        ]
        old, new = (",".join(map(str, uids)).encode() for uids in zip(*copied, strict=True)) if copied else (b"", b"")
        code = b"[COPYUID %d %b %b] " % (mbox.getUIDValidity(), old, new) if copied else b""
        self.sendPositiveResponse(tag, code + b"COPY completed")

    def _cbSelectWork(self, mbox: Mailbox | None, cmdName: bytes, tag: bytes) -> None:
        """The base class goes on listening to the folder selected before, and leaves out what clients plan by."""
        self._unselect()
        if mbox is not None:
            self.sendPositiveResponse(None, b"[UIDNEXT %d]" % mbox.getUIDNext())
            self.sendPositiveResponse(None, b"[PERMANENTFLAGS (%b \\*)]" % " ".join(mbox.getFlags()).encode())
        super()._cbSelectWork(mbox, cmdName, tag)

    def _unselect(self) -> None:
        if self.mbox is not None:
            self.mbox.removeListener(self)
            self.mbox = None
        self.state = "auth"

    def do_UNSELECT(self, tag: bytes) -> None:
        self._unselect()
        self.sendPositiveResponse(tag, b"UNSELECT completed")

    select_UNSELECT = (do_UNSELECT,)

    def do_UID(self, tag: bytes, command: bytes, line: bytes) -> None:
        if command.upper() != b"EXPUNGE":
            super().do_UID(tag, command, line)
            return
        assert self.mbox is not None
        for number in self.mbox.expunge(imap4.parseIdList(line)):  # type: ignore[no-untyped-call]
            self.sendUntaggedResponse(b"%d EXPUNGE" % number)
        self.sendPositiveResponse(tag, b"EXPUNGE completed")

    select_UID = (do_UID, _ServerBase.arg_atom, _ServerBase.arg_line)

    def spew_body(self, part: Any, id: int, msg: Any, _w: Any = None, _f: Any = None) -> Any:  # noqa: ANN401
        """The base class marks nothing as read, and answers a request for some of the bytes with all of them."""
        if not part.peek and (part.empty or part.text or part.header or part.mime):
            msg.flags.add(r"\Seen")
        begin, length = part.partialBegin, part.partialLength
        if begin is None:
            return super().spew_body(part, id, msg, _w, _f)
        piece = _section(part, msg)[begin : begin + length]
        part.partialBegin = None  # or its name would hold the length too (RFC 3501, 7.4.2)
        _w(b"%b<%d> {%d}\r\n%b" % (part.getBytes(), begin, len(piece), piece))
        part.partialBegin = begin
        return None

    # Searching dates and headers compares bytes from the wire with text in the base class, and fails.

    def search_SINCE(self, query: list[Any], id: int, msg: Any) -> bool:  # noqa: ANN401
        return _day(msg.getInternalDate()) >= _asked_day(query)

    def search_BEFORE(self, query: list[Any], id: int, msg: Any) -> bool:  # noqa: ANN401
        return _day(msg.getInternalDate()) < _asked_day(query)

    def search_ON(self, query: list[Any], id: int, msg: Any) -> bool:  # noqa: ANN401
        return _day(msg.getInternalDate()) == _asked_day(query)

    def search_SENTSINCE(self, query: list[Any], id: int, msg: Any) -> bool:  # noqa: ANN401
        return _sent(msg) >= _asked_day(query)

    def search_SENTBEFORE(self, query: list[Any], id: int, msg: Any) -> bool:  # noqa: ANN401
        return _sent(msg) < _asked_day(query)

    def search_SENTON(self, query: list[Any], id: int, msg: Any) -> bool:  # noqa: ANN401
        return _sent(msg) == _asked_day(query)

    def _contains(self, name: str, query: list[Any], msg: Any) -> bool:  # noqa: ANN401 - imap4.IMessage
        wanted = bytes(query.pop(0)).decode("utf-8", "replace").lower()
        return wanted in msg.getHeaders(False, name).get(name, "").lower()

    def search_HEADER(self, query: list[Any], id: int, msg: object) -> bool:
        return self._contains(bytes(query.pop(0)).decode("ascii", "replace").lower(), query, msg)

    def search_FROM(self, query: list[Any], id: int, msg: object) -> bool:
        return self._contains("from", query, msg)

    def search_TO(self, query: list[Any], id: int, msg: object) -> bool:
        return self._contains("to", query, msg)

    def search_CC(self, query: list[Any], id: int, msg: object) -> bool:
        return self._contains("cc", query, msg)

    def search_BCC(self, query: list[Any], id: int, msg: object) -> bool:
        return self._contains("bcc", query, msg)

    def search_SUBJECT(self, query: list[Any], id: int, msg: object) -> bool:
        return self._contains("subject", query, msg)

    def search_TEXT(self, query: list[Any], id: int, msg: Any) -> bool:  # noqa: ANN401
        return bytes(query.pop(0)).lower() in msg.raw.lower()

    search_BODY = search_TEXT

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ANN401 - twisted.python.failure.Failure
        if self.mbox is not None:  # the base class leaves a dead listener behind
            self.mbox.removeListener(self)
        super().connectionLost(reason)


def _section(part: Any, msg: Any) -> bytes:  # noqa: ANN401 - imap4's parsed BODY[…], and an IMessagePart
    """The bytes that BODY[…] names."""
    for number in part.part:
        if msg.isMultipart():
            msg = msg.getSubPart(number)
    if part.header:
        headers: bytes = imap4._formatHeaders(msg.getHeaders(part.header.negate, *part.header.fields))  # type: ignore[no-untyped-call]
        return headers
    if part.mime:
        headers = imap4._formatHeaders(msg.getHeaders(True))  # type: ignore[no-untyped-call]
        return headers
    whole: bytes = msg.raw if part.empty and not part.part else msg.getBodyFile().read()
    return whole


def _asked_day(query: list[Any]) -> date:
    """The next term of a query, such as 24-Nov-2026. ValueError, which is answered with BAD, if it is no day."""
    return datetime.strptime(bytes(query.pop(0)).decode("ascii", "replace"), "%d-%b-%Y").date()


def _day(written: str) -> date:
    return parsedate_to_datetime(written).date()


def _sent(msg: Any) -> date:  # noqa: ANN401
    """By its own header; one that has none that can be read was sent long ago."""
    try:
        return _day(msg.getHeaders(False, "date")["date"])
    except (KeyError, ValueError):
        return date.min


def _length(size: int) -> int:
    if size < 0:  # CVE-2026-115774
        raise imap4.IllegalClientResponse("Bad literal size")
    return size
