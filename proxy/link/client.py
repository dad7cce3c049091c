"""A front worker's (or the supervisor's) side of the link.

A raw non-blocking unix socket under the event loop: everything said in one turn of the loop goes out in one write, what
the socket does not take is kept and drained, a lost link is made again, and a question that gets no answer is answered
here, with None.
"""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable

from proxy import logs
from proxy.link.messages import (
    LINK_VERSION,
    Accept,
    Ask,
    Ended,
    FromCore,
    Hello,
    LinkError,
    LiveSession,
    Message,
    Refuse,
    Welcome,
    encode,
    messages_from_core,
)

FIRST_RETRY = 0.05
LAST_RETRY = 1.0
"""Seconds between two tries to reach the core: doubled from the first to the last."""
REPORT_WITHIN = 0.02
"""Seconds that a report waits for company."""
MAX_UNSENT = 16 * 1024 * 1024
"""Bytes that wait for a core that does not read; beyond it the link is cut and made anew."""
_buffer = memoryview(bytearray(256 * 1024))
"""What each read fills. recv() would map and unmap as much memory for every answer."""

Answer = Accept | Refuse | None
"""None: the core cannot be asked, or did not answer in time."""

_log = logs.get("link")


class LinkClient:
    """One conversation with the core, for the life of the process."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        path: str,
        role: str,
        *,
        live_sessions: Callable[[], list[LiveSession]],
        on_message: Callable[[FromCore], None],
    ) -> None:
        """`on_message` gets everything that is not an answer, Welcome first, in the order sent."""
        self._loop = loop
        self._path = path
        self._role = role
        self._live_sessions = live_sessions
        self._on_message = on_message
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._outbox: list[bytes] = []
        self._unsent = b""
        self._flushing = False
        """_flush() is due at the end of this turn."""
        self._reporting: TimerHandle | None = None
        self._draining = False
        self._retry = FIRST_RETRY
        self._complained = False
        self._question = 0
        self._questions: dict[int, tuple[float, Callable[[Answer], None]]] = {}
        self._expiry: TimerHandle | None = None
        self.question_timeout = 5.0
        """Seconds."""
        self.up = False
        """The core has welcomed us: questions can be asked."""

    def start(self) -> None:
        """Connect, now and whenever the link is lost."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(self._path)
        except OSError as error:
            sock.close()
            if not self._complained:
                self._complained = True
                _log.error("cannot reach the core", path=self._path, reason=error.strerror)
            self._loop.call_later(self._retry, self.start)
            self._retry = min(self._retry * 2, LAST_RETRY)
            return
        self._socket = sock
        self._loop.add_reader(sock.fileno(), self._readable)
        self._write(Hello(LINK_VERSION, self._role, self._live_sessions()))

    # ---- speaking ----------------------------------------------------------------------------

    def send(self, message: Message) -> bool:
        """Report something. False, and dropped, while there is no link: Hello tells a new core what still matters.

        What happens between Hello and Welcome must be told: the core knows the sessions of the Hello by then.
        """
        if self._socket is None:
            return False
        self._write(message)
        return True

    def report(self, message: Message) -> None:
        """As send, for what the core need not know at once: it goes out with what is said next, or a moment later.

        Two of the three writes of a login, and as many times that the core wakes up.
        """
        if self._socket is None:
            return
        self._outbox.append(encode(message))
        if not self._flushing and self._reporting is None:
            self._reporting = self._loop.call_later(REPORT_WITHIN, self._flush_reports)

    def _flush_reports(self) -> None:
        self._reporting = None
        self._flush()

    def ask(self, question: Ask, answered: Callable[[Answer], None]) -> int:
        """Put a question and return its number; `answered` is called once, with None when nobody can answer."""
        self._question += 1
        question.question = self._question
        self._questions[self._question] = (self._loop.time() + self.question_timeout, answered)
        if self.up:
            self._write(question)
            if self._expiry is None:
                self._expiry = self._loop.call_later(self.question_timeout, self._expire)
        else:
            self._loop.call_soon(self._answer, self._question, None)
        return self._question

    @property
    def unsent(self) -> bool:
        """Something said is not with the kernel yet."""
        return bool(self._outbox or self._unsent)

    def forget(self, question: int) -> None:
        """Nobody waits for this answer any more. A session it would have started is reported as ended."""
        self._questions.pop(question, None)

    def _write(self, message: Message) -> None:
        self._outbox.append(encode(message))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        sock = self._socket
        if sock is None:
            self._outbox.clear()
            return
        data = self._unsent + b"".join(self._outbox)
        self._outbox.clear()
        try:
            sent = sock.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lost(error.strerror or "write failed")
            return
        self._unsent = data[sent:]
        if len(self._unsent) > MAX_UNSENT:
            self._lost("the core does not read")
        elif self._unsent and not self._draining:
            self._draining = True
            self._loop.add_writer(sock.fileno(), self._flush)
        elif not self._unsent and self._draining:
            self._draining = False
            self._loop.remove_writer(sock.fileno())

    # ---- listening ---------------------------------------------------------------------------

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            size = self._socket.recv_into(_buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error.strerror or "read failed")
            return
        if not size:
            self._lost("closed by the core")
            return
        self._received += _buffer[:size]
        try:
            for message in messages_from_core(self._received):
                self._hear(message)
        except LinkError as error:
            self._lost(str(error))

    def _hear(self, message: FromCore) -> None:
        try:
            if isinstance(message, Accept | Refuse):
                self._answer(message.question, message)
                return
            if isinstance(message, Welcome):
                self._retry = FIRST_RETRY
                if self._complained:
                    self._complained = False
                    _log.info("the core answers again")
                self.up = True  # before its `cut` is obeyed: what ends by it is reported
            self._on_message(message)
        except Exception as error:
            _log.error("internal error on a message from the core", message=type(message).__name__, exc_info=error)

    def _answer(self, number: int, answer: Answer) -> None:
        waiting = self._questions.pop(number, None)
        if waiting is not None:
            try:
                waiting[1](answer)
            except Exception as error:  # of one login; the others wait for theirs
                _log.error("internal error on an answer of the core", exc_info=error)
        elif isinstance(answer, Accept):
            self.send(Ended(answer.session_id, "nobody waited for the verdict", 0, 0))

    def _expire(self) -> None:
        self._expiry = None
        now = self._loop.time()
        for number, (due, _) in list(self._questions.items()):
            if due > now:
                self._expiry = self._loop.call_later(due - now, self._expire)
                return
            self._answer(number, None)

    def _lost(self, why: str) -> None:
        sock = self._socket
        if sock is None:
            return
        self._socket = None
        self._loop.remove_reader(sock.fileno())
        if self._draining:
            self._draining = False
            self._loop.remove_writer(sock.fileno())
        sock.close()
        self.up = False
        self._received = bytearray()
        self._outbox.clear()
        self._unsent = b""
        if not self._complained:
            self._complained = True
            _log.error("the link to the core is lost", path=self._path, reason=why)
        self._loop.call_later(self._retry, self.start)
        self._retry = min(self._retry * 2, LAST_RETRY)
        for number in list(self._questions):
            self._answer(number, None)
