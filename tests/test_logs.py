"""Log lines stay one line, whatever their values hold."""

from __future__ import annotations

import io
import logging
import operator
import os
import re
import threading

import pytest

from proxy import logs
from proxy.domain.secret import Secret


@pytest.fixture(autouse=True)
def _setup(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logs.setup("info")


def line(capsys) -> str:
    written = capsys.readouterr().err
    assert written.count("\n") == 1, written
    return written.rstrip("\n")


def test_one_line_in_dovecots_words(capsys):
    logs.get("core").info(
        "login accepted", user="alice@example.org", method="PLAIN", rip="203.0.113.9", TLS="TLSv1.3", session="k3Jx"
    )
    time, _, rest = line(capsys).partition(" ")
    assert time.startswith("time=20")
    assert time.endswith("Z")
    assert rest == (
        'level=info logger=core event="login accepted" user=<alice@example.org> method=PLAIN rip=203.0.113.9 '
        "TLS=TLSv1.3 session=<k3Jx>"
    )


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\nb", '"a\\x0ab"'),
        ("a\r\nlevel=error", '"a\\x0d\\x0alevel=error"'),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b", '"a\\u2028b"'),
        ("\udc80", "\\udc80"),
        ("a\x00b", "a\\x00b"),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        ("100% %s", '"100% %s"'),
        ("münchen", "münchen"),
        (None, "None"),
        (12, "12"),
    ],
)
def test_a_value_is_one_token(raw, shown):
    assert logs.clean(raw) == shown


@pytest.mark.parametrize("raw", ["x" * 10_000, "é" * 600, "\x00" * 513, "😀" * 200])
def test_a_value_ends_at_512_bytes(raw):
    text = logs.clean(raw)
    assert text.endswith("…")
    assert len(text.replace("\\x00", "\x00").encode()) <= logs.MAX_VALUE


def test_none_is_left_out_and_secrets_do_not_show(capsys):
    logs.get("core").info("event", program=None, password=Secret("canary-hunter2"))
    text = line(capsys)
    assert "program" not in text
    assert "canary" not in text
    assert text.endswith("password=<secret>")


def test_an_exception_is_one_value_without_locals(capsys):
    password = "canary-hunter2"
    try:
        raise ValueError(f"bad\nthing {len(password)}")
    except ValueError:
        logs.get("core").exception("could not")
    text = line(capsys)
    assert 'level=error logger=core event="could not" exception="ValueError: bad\\x0athing 14 at test_logs.py:' in text
    assert "canary" not in text


@pytest.fixture
def own_stderr(tmp_path):
    """A file to be stderr, and its dev:inode as JOURNAL_STREAM gives them."""
    with (tmp_path / "stderr").open("w+") as file:
        about = os.fstat(file.fileno())
        yield file, f"{about.st_dev}:{about.st_ino}"


def test_the_journal_gets_its_priority_and_no_time(own_stderr, monkeypatch):
    file, name = own_stderr
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setenv("JOURNAL_STREAM", name)
    logs.setup("debug")
    levels = {"debug": 7, "info": 6, "warning": 4, "error": 3}
    for level in levels:
        getattr(logs.get("core"), level)("x")
    file.seek(0)
    assert file.read() == "".join(f"<{number}>level={level} logger=core event=x\n" for level, number in levels.items())


def test_a_file_is_not_the_journal_whatever_the_environment_inherited(own_stderr, monkeypatch):
    file, _ = own_stderr
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setenv("JOURNAL_STREAM", "8:123")
    logs.setup()
    logs.get("core").info("x")
    file.seek(0)
    assert file.read().startswith("time=")


def test_levels_below_the_threshold_are_silent(capsys):
    logs.setup("warning")
    logs.get("core").info("quiet")
    assert capsys.readouterr().err == ""


def test_libraries_speak_from_warning_on(capsys):
    logging.getLogger("uvicorn.access").info("GET /")
    assert capsys.readouterr().err == ""
    logging.getLogger("uvicorn.error").warning("odd %s 100%%", "x\n")
    assert line(capsys).endswith('level=warning logger=uvicorn.error event="odd x\\x0a 100%"')


def test_a_reader_that_stands_still_holds_nobody_and_is_told_what_it_missed(monkeypatch):
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "w") as stalled:
        monkeypatch.setattr("sys.stderr", stalled)
        log = logs.get("core")
        for number in range(4000):  # a pipe takes 65,536 bytes
            log.info("x" * 100, number=number)
        first = reader.read(1 << 20).decode()
        log.info("again")
        assert first.count("\n") == len(re.findall(f"event={'x' * 100} number=[0-9]+\n", first)) < 4000
        again, told = reader.read(1 << 20).decode().splitlines()
        assert again.endswith("event=again")
        lost = 4000 - first.count("\n")
        assert told.endswith(
            f'level=warning logger=logs event="log lines were dropped: stderr took no more" lines={lost}'
        )


def test_a_line_fits_into_a_pipe_at_once(capsys):
    logs.get("core").info("x", **{f"field{number}": "\x00" * 512 for number in range(10)})
    assert len(line(capsys).encode()) == logs.MAX_LINE - 1


class Writes(io.StringIO):
    """A stderr that keeps what each write was."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[str] = []

    def write(self, text: str) -> int:
        self.each.append(text)
        return len(text)


def test_lines_together_leave_at_the_end_in_order(monkeypatch):
    stderr = Writes()
    monkeypatch.setattr("sys.stderr", stderr)
    log = logs.get("core")
    other = threading.Thread(target=log.info, args=("from another thread",))

    def speak() -> None:
        with logs.together():
            log.info("one")
            other.start()
            other.join()
            log.info("two")
            raise KeyError

    with pytest.raises(KeyError):
        speak()
    log.info("three")
    elsewhere, both, three = stderr.each
    assert elsewhere.endswith('event="from another thread"\n')
    assert [re.sub("^time=[^ ]+ ", "", line) for line in both.splitlines()] == [
        "level=info logger=core event=one",
        "level=info logger=core event=two",
    ]
    assert three.endswith("event=three\n")


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_no_write_of_lines_together_is_more_than_a_pipe_takes_at_once(monkeypatch, letter):
    stderr = Writes()
    monkeypatch.setattr("sys.stderr", stderr)
    with logs.together():
        for number in range(200):
            logs.get("core").info("x", number=number, text=letter * (7 * number % 300))
    assert re.findall("number=([0-9]+) ", "".join(stderr.each)) == [str(number) for number in range(200)]
    sizes = [len(write.encode()) for write in stderr.each]
    assert max(sizes) <= logs.MAX_LINE < min(map(operator.add, sizes, sizes[1:]))


def test_lines_together_that_are_dropped_are_counted(monkeypatch):
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "w") as stalled:
        monkeypatch.setattr("sys.stderr", stalled)
        for number in range(400):  # a pipe takes 65,536 bytes
            with logs.together():
                for _ in range(5):
                    logs.get("core").info("x" * 100, number=number)
        written = reader.read(1 << 20).decode().count("\n")
        logs.get("core").info("again")
        assert reader.read(1 << 20).decode().endswith(f" lines={2000 - written}\n")
