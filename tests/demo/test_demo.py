"""`sidegate demo` as a person uses it: what it prints is pasted, what it writes is read, and Ctrl-C leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import json
import os
import re
import signal
import smtplib
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import httpx
import pytest

from proxy.config import load
from proxy.demo.main import _run_dir
from proxy.domain.phone_codes import Message
from proxy.factors.webhook import make
from tests.peers.process import wait_until
from tests.support.demo import ROOT, Demo

PORTAL = r"http://localhost:\d+/"
REQUIRED = f"Application-specific password required: {PORTAL}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    it = Demo(tmp_path_factory.mktemp("demo"))
    try:
        yield it.wait()
    finally:
        it.end()


def test_ready_file_says_all_that_a_program_needs(demo: Demo) -> None:
    facts = demo.facts
    assert set(facts) == {"imap", "smtp", "ldap", "portal", "ca", "config", "accounts", "app_password"}
    assert set(facts["imap"]) == set(facts["smtp"]) == set(facts["ldap"]) == {"tls", "starttls"}
    assert facts["accounts"] == [
        {"account": "alice@example.org", "password": "alice-account-password", "admin": False},
        {"account": "bob@example.org", "password": "bob-account-password", "admin": True},
    ]
    assert set(facts["app_password"]) == {"account", "name", "secret"}
    assert re.fullmatch("([a-z]{4}-){4}[a-z]{4}", facts["app_password"]["secret"])
    assert re.fullmatch(PORTAL, facts["portal"])
    assert stat.S_IMODE(demo.ready_file.stat().st_mode) == 0o600
    assert not list(demo.ready_file.parent.glob("ready.json.*"))


def test_four_processes_and_more_as_in_production(demo: Demo) -> None:
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in demo.members()]
    modules = sorted(line[line.index(b"-m") + 1].decode() for line in lines)
    assert modules == [
        "proxy",
        "proxy.core",
        "proxy.demo.backends",
        "proxy.demo.serve",
        "proxy.front_worker",
        "proxy.front_worker",
        "proxy.portal_process",
    ]
    secrets = [demo.facts["app_password"]["secret"], *(it["password"] for it in demo.facts["accounts"])]
    for line in lines:
        assert not any(secret.encode() in argument for secret in secrets for argument in line)


def test_the_portal_page_is_there(demo: Demo) -> None:
    response = httpx.get(demo.facts["portal"])
    assert response.status_code == 200
    assert "What is an app password?" in response.text


def test_text_messages_are_printed_and_only_signed_ones(demo: Demo) -> None:
    settings = load(Path(demo.facts["config"])).factors.sms
    assert settings is not None
    assert settings.webhook is not None
    send = make(settings.webhook, time.time, os.urandom)
    asyncio.run(send(Message("+34612345678", "123456 is your code.\n\n@localhost #123456", "en", "sms")))
    assert "\ntext message to +34612345678: 123456 is your code. @localhost #123456\n" in demo.text()
    assert httpx.post(settings.webhook.url, json={}).status_code == 401


def test_starttls_on_both(demo: Demo) -> None:
    account = demo.facts["app_password"]
    with imaplib.IMAP4("localhost", demo.facts["imap"]["starttls"], timeout=30) as mail:
        mail.starttls(demo.context)
        assert mail.login(account["account"], account["secret"])[0] == "OK"
    with smtplib.SMTP("localhost", demo.facts["smtp"]["starttls"], "laptop", timeout=30) as out:
        out.starttls(context=demo.context)
        assert out.login(account["account"], account["secret"])[0] == 235


def test_the_account_password_gets_nobody_in(demo: Demo) -> None:
    for account in demo.facts["accounts"]:
        with (
            imaplib.IMAP4_SSL("localhost", demo.facts["imap"]["tls"], ssl_context=demo.context, timeout=30) as mail,
            pytest.raises(imaplib.IMAP4.error, match=REQUIRED),
        ):
            mail.login(account["account"], account["password"])
        with (
            smtplib.SMTP_SSL("localhost", demo.facts["smtp"]["tls"], "laptop", context=demo.context, timeout=30) as out,
            pytest.raises(smtplib.SMTPAuthenticationError, match=REQUIRED) as refused,
        ):
            out.login(account["account"], account["password"])
        assert refused.value.smtp_code == 534


def test_doctor_has_little_to_say(demo: Demo) -> None:
    command = [sys.executable, "-m", "proxy", "-c", demo.facts["config"], "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    states = [(finding["state"], finding["check"]) for finding in json.loads(done.stdout)]
    # That its mail server believes whoever connects is as it must be for a demo on loopback.
    assert {check for state, check in states if state not in ("ok", "note")} == {"backend submission"}


def test_nothing_secret_in_the_log(demo: Demo) -> None:
    log = (demo.directory / "sidegate.log").read_text()
    secret = demo.facts["app_password"]["secret"]
    master = (demo.directory / "master-password").read_text().strip()
    service = (demo.directory / "service-password").read_text().strip()
    for word in (secret, secret.replace("-", ""), master, service, *(it["password"] for it in demo.facts["accounts"])):
        assert word not in log


@pytest.mark.real
def test_the_printed_commands_work_as_they_stand(demo: Demo) -> None:
    commands = demo.commands()
    assert len(commands) == 12, commands
    inbox, send, fourth, imap_refused, smtp_refused, idle, sessions, revoke, enable, why, audit, help_ = commands

    def output(command: str) -> str:
        done = demo.paste(command)
        assert done.returncode == 0, (command, done)
        return done.stdout

    assert output(inbox).count("Message-ID:") == 3
    for _ in range(5):  # what people are told is mail, too, and may come between
        assert output(send) == ""
        if "Subject: Sent through sidegate" in (newest := output(fourth)):
            break
    assert "Subject: Sent through sidegate" in newest
    shown = output(imap_refused)
    assert re.search(rf"^< \* OK \[ALERT\] {REQUIRED}\r?$", shown, re.M), shown
    assert re.search(rf"^< \S+ NO \[AUTHENTICATIONFAILED\] {REQUIRED}\r?$", shown, re.M), shown
    assert re.fullmatch(rf"(< 534 5\.7\.9 {REQUIRED}\r?\n)+", output(smtp_refused))

    idling = subprocess.Popen(["sh", "-c", idle], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert idling.stdout is not None
    assert idling.stdout.readline().startswith("+")
    assert "phone" in output(sessions)
    closed: list[tuple[float, str]] = []
    reader = threading.Thread(target=lambda: closed.extend((time.monotonic(), line) for line in idling.stdout or []))
    reader.start()
    revoked = demo.paste(revoke)
    returned = time.monotonic()
    assert revoked.returncode == 0, revoked
    reader.join(20)
    assert idling.wait(20) == 0
    assert [line for _, line in closed][-1] == "the connection is closed\n"
    assert closed[-1][0] < returned + 1
    assert output(inbox).count("Message-ID:") == 3, "another app of the same person goes on"

    output(enable)
    states = json.loads(output(f"{enable.partition(' mfa ')[0]} accounts list --json"))
    assert {row["mfa"] for row in states} == {"enabled"}
    assert "not_app_password" in output(why)
    assert "alice@example.org" in output(audit)
    assert "Usage: sidegate" in output(help_)


def test_mail_sent_appears_at_once_where_somebody_idles(demo: Demo) -> None:
    secret = demo.facts["app_password"]["secret"]
    with contextlib.closing(demo.imap(secret).socket()):
        mail = demo.imap(secret)
        count = int(mail.select()[1][0])
        mail.send(b"i1 IDLE\r\n")
        assert mail.readline().startswith(b"+")
        with smtplib.SMTP_SSL(
            "localhost", demo.facts["smtp"]["tls"], "laptop", context=demo.context, timeout=30
        ) as out:
            out.login("alice@example.org", secret)
            out.sendmail("alice@example.org", ["alice@example.org", "bob@example.org"], "Subject: hi\r\n\r\nthere\r\n")
        assert mail.readline() == b"* %d EXISTS\r\n" % (count + 1)
        mail.send(b"DONE\r\n")
        while not mail.readline().startswith(b"i1 OK"):
            pass
        # The next one, unless what alice is told came first.
        found = [part[1] for part in mail.fetch(f"{count + 1}:*", "BODY[TEXT]")[1] if isinstance(part, tuple)]
        assert b"there\r\n" in found
        mail.logout()


def test_what_people_are_told_is_in_their_inbox(demo: Demo) -> None:
    mail = demo.imap(demo.facts["app_password"]["secret"])
    with contextlib.closing(mail.socket()):
        mail.select()
        found = [part[1] for part in mail.fetch("1:*", "BODY[]")[1] if isinstance(part, tuple)]
        told = [message_from_bytes(raw, policy=default) for raw in found if b"\r\nAuto-Submitted: " in raw]
        assert [str(one["subject"]) for one in told][:2] == [
            "New app password “curl” – example.org",
            "New app password “phone” – example.org",
        ]
        assert {str(one["from"]) for one in told} == {'"example.org" <sidegate@example.org>'}
        assert "By: your administrator" in told[0].get_content()
        assert demo.facts["portal"] not in told[0].get_content()
        mail.logout()


def test_ctrl_c_leaves_no_process_no_folder_no_ready_file(tmp_path: Path) -> None:
    it = Demo(tmp_path).wait()
    before = it.members()
    assert len(before) == 7
    os.killpg(it.process.pid, signal.SIGINT)  # as a terminal does: the whole group hears it
    assert it.process.wait(40) == 0
    assert it.members() == set()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output"]
    assert "Traceback" not in it.text()


def test_a_given_folder_is_kept_even_after_a_kill_and_may_be_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "kept here"
    first = Demo(tmp_path, "--dir", str(folder)).wait()
    first.process.kill()
    first.process.wait()
    wait_until(lambda: not first.members(), "nothing that outlives a killed demo", 10)
    first.ready_file.unlink()
    second = Demo(tmp_path, "--dir", str(folder)).wait()
    assert second.facts["app_password"]["secret"] != first.facts["app_password"]["secret"]
    assert second.imap(second.facts["app_password"]["secret"]).logout()[0] == "BYE"
    with pytest.raises(imaplib.IMAP4.error, match="App password not accepted"):
        second.imap(first.facts["app_password"]["secret"])

    (backends,) = (
        pid for pid in second.members() if b"proxy.demo.backends" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(backends, signal.SIGKILL)
    assert second.process.wait(40) == 1, "a part that dies ends the demo, with words"
    assert "the embedded servers ended with status -9" in second.text()
    assert second.members() == set()
    assert (folder / "sidegate.db").exists()
    assert not second.ready_file.exists()


def test_what_cannot_work_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    it = Demo(tmp_path, "--dir", str(tmp_path / "file" / "below"))
    assert it.process.wait(60) == 1
    assert "choose another --dir" in it.text()
    assert "Traceback" not in it.text()


def test_a_deep_folder_has_its_sockets_elsewhere(tmp_path: Path) -> None:
    with contextlib.ExitStack() as cleanup:
        assert _run_dir(tmp_path, cleanup) == tmp_path / "run"
        run = _run_dir(tmp_path / ("deep" * 25), cleanup)
        assert run.is_dir()
        assert len(str(run / "admin.sock")) < 60
    assert not run.exists()
