"""The embedded backends by themselves, asked as sidegate asks them."""

from __future__ import annotations

import imaplib
import os
import re
import select
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ALICE = "alice@example.org"
BOB = "bob@example.org"


@dataclass
class Backends:
    imap: int
    smtp: int
    ldap: int
    process: subprocess.Popen[bytes]


def bound() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=16)


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    password = tmp_path_factory.mktemp("backends") / "master-password"
    password.write_text("master-secret\n")
    service_password = password.with_name("service-password")
    service_password.write_text("service-secret\n")
    read, write = os.pipe()
    with bound() as imap, bound() as smtp, bound() as ldap:
        fds = (imap.fileno(), smtp.fileno(), ldap.fileno(), write)
        options = zip(("--imap-fd", "--smtp-fd", "--ldap-fd", "--status-fd"), map(str, fds), strict=True)
        arguments = [part for option in options for part in option]
        arguments += ["--master", "sidegate", "--password-file", str(password)]
        arguments += ["--service-password-file", str(service_password)]
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy.demo.backends", *arguments, ALICE, BOB],
            pass_fds=fds,
            cwd=Path(__file__).parents[2],
        )
        os.close(write)
        ready, _, _ = select.select([read], [], [], 60)
        assert ready
        assert os.read(read, 1) == b"R"
        yield Backends(*(sock.getsockname()[1] for sock in (imap, smtp, ldap)), process)
        process.terminate()
        assert process.wait(20) == 0
    os.close(read)


def plain(authzid: str, authcid: str, password: str) -> bytes:
    return f"{authzid}\0{authcid}\0{password}".encode()


def imap_as(backends: Backends, account: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", backends.imap, timeout=20)
    client.authenticate("PLAIN", lambda _: plain(account, "sidegate", "master-secret"))
    return client


def test_only_the_master_user_gets_in_and_only_as_an_account(backends: Backends) -> None:
    for response in (
        plain(ALICE, "sidegate", "wrong"),
        plain("", "sidegate", "master-secret"),
        plain("nobody@example.org", "sidegate", "master-secret"),
        plain("", ALICE, "master-secret"),
    ):
        client = imaplib.IMAP4("127.0.0.1", backends.imap, timeout=20)
        with pytest.raises(imaplib.IMAP4.error, match="Authentication failed"):
            client.authenticate("PLAIN", lambda _, response=response: response)
        client.shutdown()
    client = imaplib.IMAP4("127.0.0.1", backends.imap, timeout=20)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        client.login(ALICE, "master-secret")
    client.shutdown()


def test_reads_marks_searches_and_removes(backends: Backends) -> None:
    client = imap_as(backends, ALICE)
    assert client.select("inbox") == ("OK", [b"3"])
    assert client.search(None, "ALL") == ("OK", [b"1 2 3"])
    assert client.search(None, "FROM", '"sidegate demo"', "SUBJECT", "password") == ("OK", [b"2 3"])
    assert client.uid("SEARCH", "UID", "2:*") == ("OK", [b"2 3"])
    _, answer = client.fetch("1", "(UID FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert b'"Welcome to the sidegate demo"' in answer[0][0]
    assert answer[0][1] == b"Subject: Welcome to the sidegate demo\r\n"
    _, answer = client.fetch("1", "BODY[]")
    assert answer[0][1].endswith(b"sidegate logged in\r\nfor you.\r\n")
    assert client.store("1", "+FLAGS", r"(\Seen \Deleted)")[1] == [rb"1 (FLAGS (\Deleted \Seen))"]
    assert client.expunge() == ("OK", [b"1"])
    assert client.search(None, "ALL") == ("OK", [b"1 2"])
    assert client.status("INBOX", "(MESSAGES UIDNEXT UNSEEN)")[1] == [b"INBOX (MESSAGES 2 UIDNEXT 4 UNSEEN 2)"]
    client.logout()


def test_folders(backends: Backends) -> None:
    client = imap_as(backends, BOB)
    mail = b"Subject: kept\r\nX: 1\r\nX: 2\r\n\r\nbody\r\n"
    assert client.append("Sent", r"(\Seen)", '"24-Nov-2026 08:00:00 +0100"', mail)[0] == "OK"
    client.select("Sent")
    _, answer = client.fetch("1", "(INTERNALDATE FLAGS BODY.PEEK[])")
    assert b'INTERNALDATE "24-Nov-2026 07:00:00' in answer[0][0]
    assert answer[0][1] == mail
    assert client.create("Projects/One")[0] == "OK"
    assert client.copy("1", "Projects/One")[0] == "OK"
    assert client.copy("1", "Nowhere") == ("NO", [b"[TRYCREATE] No such mailbox"])
    names = [line.split()[-1].strip(b'"') for line in client.list()[1]]
    assert names == [b"INBOX", b"Sent", b"Drafts", b"Trash", b"Projects/One"]
    assert client.delete("Projects/One")[0] == "OK"
    client.logout()


def test_a_multipart_mail_is_described(backends: Backends) -> None:
    client = imap_as(backends, BOB)
    mail = (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\none\r\n'
        b"--b\r\nContent-Type: application/pdf; name=x.pdf\r\n\r\ntwo\r\n--b--\r\n"
    )
    client.append("Drafts", "", imaplib.Time2Internaldate(time.time()), mail)
    client.select("Drafts")
    _, answer = client.fetch("1", "(BODYSTRUCTURE BODY[1] BODY[2.MIME])")
    assert b'"mixed"' in answer[0][0]
    assert next(part[1] for part in answer if isinstance(part, tuple)) == b"one"
    client.logout()


def test_some_bytes_of_a_mail(backends: Backends) -> None:
    client = imap_as(backends, BOB)
    mail = b"Subject: long\r\n\r\n0123456789\r\n"
    client.append("Drafts", "", imaplib.Time2Internaldate(time.time()), mail)
    _, count = client.select("Drafts")
    number = count[0].decode()

    def fetched(what: str) -> tuple[bytes, bytes]:
        answer = client.fetch(number, what)[1][0]
        assert isinstance(answer, tuple)
        return answer[0].partition(b"(")[2], answer[1]

    assert fetched("BODY.PEEK[]<0.10>") == (b"BODY[]<0> {10}", b"Subject: l")
    assert fetched("BODY.PEEK[]<17.4>") == (b"BODY[]<17> {4}", b"0123")
    assert fetched("BODY.PEEK[TEXT]<8.100>") == (b"BODY[TEXT]<8> {4}", b"89\r\n")
    assert fetched("BODY.PEEK[HEADER]<0.7>") == (b"BODY[HEADER]<0> {7}", b"Subject")
    assert fetched("BODY.PEEK[1]<2.3>") == (b"BODY[1]<2> {3}", b"234")
    assert fetched("BODY.PEEK[]<99.5>") == (b"BODY[]<99> {0}", b"")
    assert client.fetch(number, "FLAGS")[1] == [f"{number} (FLAGS ())".encode()]
    assert fetched("BODY[]<0.1>")[1] == b"S"
    assert client.fetch(number, "FLAGS")[1] == [rf"{number} (FLAGS (\Seen))".encode()]
    client.logout()


def test_uids_are_told_and_expunged_by(backends: Backends) -> None:
    client = imap_as(backends, BOB)
    client.create("Old")
    for name in (b"a", b"b", b"c"):
        _, answer = client.append("Old", "", imaplib.Time2Internaldate(time.time()), b"Subject: " + name + b"\r\n\r\n")
    assert re.fullmatch(rb"\[APPENDUID [0-9]+ 3\] APPEND completed", answer[0])
    client.select("Old")
    assert client.response("UIDNEXT") == ("UIDNEXT", [b"4"])
    assert client.response("PERMANENTFLAGS")[1][0].endswith(rb" \Draft \*)")
    client.create("New")
    client.uid("COPY", "2:3", "New")
    (copied,) = client.response("COPYUID")[1]
    assert re.fullmatch(rb"[0-9]+ 2,3 1,2", copied)
    client.uid("STORE", "1:3", "+FLAGS.SILENT", r"(\Deleted)")
    client.uid("EXPUNGE", "2")
    assert client.response("EXPUNGE")[1] == [b"2"]
    assert client.uid("SEARCH", "ALL")[1] == [b"1 3"]
    assert client.unselect()[0] == "OK"
    client.select("INBOX")
    other = imap_as(backends, BOB)
    other.append("Old", "", imaplib.Time2Internaldate(time.time()), b"\r\n")
    other.logout()
    client.noop()
    assert client.untagged_responses.get("EXISTS") == client.untagged_responses["EXISTS"][:1]  # of the INBOX alone
    client.logout()


def test_searches_by_day(backends: Backends) -> None:
    client = imap_as(backends, BOB)
    client.create("Days")
    for day in (23, 24, 25):
        date = f"Date: Mon, {day - 10} Nov 2026 08:00:00 +0000\r\n\r\n".encode()
        client.append("Days", "", f'"{day}-Nov-2026 08:00:00 +0000"', date)
    client.append("Days", "", '"1-Dec-2026 08:00:00 +0000"', b"Subject: no date\r\n\r\n")
    client.select("Days")
    for query, found in {
        "SINCE 24-Nov-2026": b"2 3 4",
        "BEFORE 24-Nov-2026": b"1",
        "ON 24-Nov-2026": b"2",
        "SENTSINCE 14-Nov-2026": b"2 3",
        "SENTBEFORE 14-Nov-2026": b"1 4",
        "SENTON 14-Nov-2026": b"2",
    }.items():
        assert client.search(None, query) == ("OK", [found]), query
    client.logout()


def test_folders_are_listed_with_what_they_are_for(backends: Backends) -> None:
    client = imap_as(backends, ALICE)
    assert client.list('""', '""')[1] == [rb'(\Noselect) "/" ""']
    assert client.list('""', "Sen")[1] == [None]
    assert client.list()[1] == [
        b'() "/" "INBOX"',
        rb'(\Sent) "/" "Sent"',
        rb'(\Drafts) "/" "Drafts"',
        rb'(\Trash) "/" "Trash"',
    ]
    client.logout()


def test_a_negative_literal_is_refused_not_followed(backends: Backends) -> None:
    client = imap_as(backends, BOB)
    client.send(b"x1 SELECT {-1}\r\n")
    assert client.readline().startswith(b"x1 BAD")
    assert client.noop()[0] == "OK"
    client.logout()


def test_mail_is_delivered_and_announced_to_who_idles(backends: Backends) -> None:
    idler = imap_as(backends, BOB)
    idler.select("inbox")
    before = int(idler.status("inbox", "(MESSAGES)")[1][0].split()[-1].rstrip(b")"))
    idler.send(b"i1 IDLE\r\n")
    assert idler.readline() == b"+\r\n"
    client = smtplib.SMTP("127.0.0.1", backends.smtp, "laptop", timeout=20)
    assert client.ehlo()[0] == 250
    assert client.has_extn("xclient")
    assert client.has_extn("auth")  # as Postfix has it where LOGIN= counts
    assert client.docmd("AUTH PLAIN", "AGFsaWNlAHg=")[0] == 535
    assert client.docmd("MAIL FROM:<alice@example.org>") == (530, b"5.7.0 Authentication required")
    assert client.docmd("XCLIENT ADDR=203.0.113.9 LOGIN=alice+40example.org")[0] == 220
    client.ehlo()
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail(ALICE, ["stranger@example.net"], "Subject: no\r\n\r\n")
    client.sendmail(ALICE, [BOB], "Subject: hello\r\n\r\n.dotted\r\n")
    assert idler.readline() == b"* %d EXISTS\r\n" % (before + 1)
    idler.send(b"DONE\r\n")
    while not idler.readline().startswith(b"i1 OK"):
        pass
    _, answer = idler.fetch(str(before + 1), "BODY[]")
    assert answer[0][1].startswith(b"Return-Path: <alice@example.org>\r\nReceived: by ")
    assert b"login alice@example.org" in answer[0][1]
    assert answer[0][1].endswith(b"Subject: hello\r\n\r\n.dotted\r\n")
    client.quit()
    idler.logout()


def test_sidegate_itself_has_a_login_for_what_it_tells_people(backends: Backends) -> None:
    client = smtplib.SMTP("127.0.0.1", backends.smtp, "portal", timeout=20)
    client.login("sidegate", "master-secret")
    client.sendmail("sidegate@example.org", [BOB], "Subject: New sign-in\r\n\r\n")
    client.quit()
    reader = imap_as(backends, BOB)
    reader.select("inbox")
    _, answer = reader.fetch("*", "BODY[]")
    assert answer[0][1].endswith(b"Subject: New sign-in\r\n\r\n")
    reader.logout()


def test_empty_xclient_login_is_nobody(backends: Backends) -> None:
    client = smtplib.SMTP("127.0.0.1", backends.smtp, "laptop", timeout=20)
    client.ehlo()
    assert client.docmd("XCLIENT LOGIN=")[0] == 501
    assert client.docmd("XCLIENT ADDR=192.0.2.1")[0] == 220
    client.ehlo()
    assert client.docmd("MAIL FROM:<a@example.org>")[0] == 530
    client.quit()
