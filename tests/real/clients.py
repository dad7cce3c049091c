"""Real mail programs, unattended: each reads the inbox or sends a mail once, and says what its owner saw.

All speak implicit TLS to localhost and check the certificate. What they do on the wire and show on a refusal
differs a lot (attempts, mechanisms, initial responses), which is the point.
"""

from __future__ import annotations

import contextlib
import imaplib
import os
import pty
import select
import smtplib
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60


@dataclass(frozen=True)
class Login:
    """Where and as whom; `home` is an empty folder of this one run."""

    port: int
    ca: Path
    user: str
    secret: str
    home: Path


@dataclass(frozen=True)
class Outcome:
    """`worked`: it did what it was asked; `seen`: everything it printed."""

    worked: bool
    seen: str


def _run(login: Login, argv: list[str], *, stdin: str = "") -> Outcome:
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
        env={**os.environ, "HOME": str(login.home), "SSL_CERT_FILE": str(login.ca), "LC_ALL": "C.UTF-8"},
        cwd=login.home,
    )
    return Outcome(done.returncode == 0, done.stdout + done.stderr)


def _file(login: Login, name: str, text: str) -> Path:
    path = login.home / name
    path.write_text(text)
    path.chmod(0o700 if name.endswith(".sh") else 0o600)
    return path


# ---- reading ---------------------------------------------------------------------------------


def curl_imap(login: Login) -> Outcome:
    url = f"imaps://localhost:{login.port}/INBOX"
    user = _file(login, "curlrc", f'user = "{login.user}:{login.secret}"\ncacert = "{login.ca}"\n')
    return _run(login, ["curl", "-sv", "-K", str(user), url, "-X", "STATUS INBOX (MESSAGES)"])


def mbsync(login: Login) -> Outcome:
    (login.home / "mail").mkdir()
    rc = _file(
        login,
        "mbsyncrc",
        f"""
IMAPAccount gate
Host localhost
Port {login.port}
User {login.user}
Pass {login.secret}
SSLType IMAPS
CertificateFile {login.ca}
SystemCertificates no

IMAPStore far
Account gate

MaildirStore near
Path {login.home}/mail/
Inbox {login.home}/mail/INBOX

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Near
""",
    )
    return _run(login, ["mbsync", "-c", str(rc), "-a"])


def offlineimap(login: Login) -> Outcome:
    rc = _file(
        login,
        "offlineimaprc",
        f"""[general]
accounts = gate
metadata = {login.home}/meta
ui = basic
socktimeout = 30

[Account gate]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {login.home}/mail

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {login.port}
remoteuser = {login.user}
remotepass = {login.secret}
ssl = yes
sslcacertfile = {login.ca}
folderfilter = lambda name: name == 'INBOX'
""",
    )
    outcome = _run(login, ["offlineimap", "-c", str(rc), "-o"])
    return Outcome(outcome.worked and "ERROR" not in outcome.seen, outcome.seen)


def s_nail_imap(login: Login) -> Outcome:
    rc = _file(
        login,
        "nailrc",
        "set v15-compat\nset nosave\n"
        f"set tls-ca-file={login.ca} tls-verify=strict\n"
        "set imap-auth=login\n"
        f"set password-{login.user}@localhost:{login.port}={login.secret} password={login.secret} user={login.user}\n",
    )
    argv = ["s-nail", "-:/", "-S", f"mailx-extra-rc={rc}", "-R", "-Y", "headers", "-Y", "xit", "-f"]
    outcome = _run(login, [*argv, f"imaps://{login.user}@localhost:{login.port}/INBOX"])
    return Outcome("imaps://" in outcome.seen and "NO [" not in outcome.seen, outcome.seen)


def fetchmail(login: Login) -> Outcome:
    rc = _file(
        login,
        "fetchmailrc",
        f"poll localhost protocol imap port {login.port} user {login.user} password {login.secret}\n"
        f"  ssl sslcertck sslcertfile {login.ca} mda /bin/true\n",
    )
    argv = ["fetchmail", "-v", "--keep", "--nodetach", "--nosyslog", "-f", str(rc), "-i", str(login.home / "ids")]
    outcome = _run(login, [*argv, "--pidfile", str(login.home / "pid")])
    refused = "Authorization failure" in outcome.seen or "Query status=3" in outcome.seen
    return Outcome(not refused and ("messages" in outcome.seen or "No mail" in outcome.seen), outcome.seen)


def neomutt_imap(login: Login) -> Outcome:
    rc = _file(
        login,
        "muttrc",
        f"set ssl_ca_certificates_file={login.ca} certificate_file={login.ca}\n"
        f"set imap_user={login.user} imap_pass={login.secret}\nset spool_file=imaps://localhost:{login.port}/INBOX\n"
        f"set folder=imaps://localhost:{login.port}/ wait_key=no sleep_time=1 header_cache=''\n",
    )
    seen = _terminal(login, ["neomutt", "-n", "-F", str(rc)], until=["Msgs:", "Msg", "[AUTHENTICATIONFAILED]"])
    return Outcome("Msgs:" in seen, seen)


def _terminal(login: Login, argv: list[str], until: list[str]) -> str:
    """Run a full-screen program on a wide terminal until one of the words shows (or time is up), then end it."""
    pid, descriptor = pty.fork()
    if pid == 0:
        os.environ.update(HOME=str(login.home), TERM="xterm", COLUMNS="240", LINES="50", LC_ALL="C.UTF-8")
        os.execvp(argv[0], argv)
    seen = b""
    deadline = time.monotonic() + SECONDS
    with contextlib.suppress(OSError):
        import fcntl
        import struct
        import termios

        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 240, 0, 0))
        while time.monotonic() < deadline and not any(word.encode() in seen for word in until):
            if select.select([descriptor], [], [], 0.2)[0]:
                seen += os.read(descriptor, 65536)
        time.sleep(0.3)
        if select.select([descriptor], [], [], 0.2)[0]:
            seen += os.read(descriptor, 65536)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 15)
    time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(descriptor)
    return seen.decode("utf-8", "replace")


def python_imaplib(login: Login) -> Outcome:
    context = ssl.create_default_context(cafile=str(login.ca))
    with imaplib.IMAP4_SSL("localhost", login.port, ssl_context=context) as client:
        try:
            client.login(login.user, login.secret)
            return Outcome(client.select("INBOX", readonly=True)[0] == "OK", "")
        except imaplib.IMAP4.error as error:
            return Outcome(False, str(error))


# ---- sending ---------------------------------------------------------------------------------

FROM, TO = "alice@example.org", "bob@example.org"


def _mail(mark: str) -> str:
    return f"From: {FROM}\r\nTo: {TO}\r\nSubject: {mark}\r\n\r\nhello\r\n"


def curl_smtp(login: Login, mark: str) -> Outcome:
    mail = _file(login, "mail.txt", _mail(mark))
    rc = _file(login, "curlrc", f'user = "{login.user}:{login.secret}"\ncacert = "{login.ca}"\n')
    argv = ["curl", "-sv", "-K", str(rc), f"smtps://localhost:{login.port}", "--mail-from", FROM, "--mail-rcpt", TO]
    return _run(login, [*argv, "-T", str(mail)])


def msmtp(login: Login, mark: str) -> Outcome:
    rc = _file(
        login,
        "msmtprc",
        f"account default\nhost localhost\nport {login.port}\ntls on\ntls_starttls off\ntls_trust_file {login.ca}\n"
        f"auth on\nuser {login.user}\npassword {login.secret}\nfrom {FROM}\n",
    )
    return _run(login, ["msmtp", "-C", str(rc), TO], stdin=_mail(mark))


def swaks(login: Login, mark: str) -> Outcome:
    argv = ["swaks", "--server", "localhost", "--port", str(login.port), "--tlsc", "--from", FROM, "--to", TO]
    argv += ["--tls-verify", "--tls-ca-path", str(login.ca)]
    return _run(login, [*argv, "--auth-user", login.user, "--auth-password", login.secret, "--h-Subject", mark])


def s_nail_smtp(login: Login, mark: str) -> Outcome:
    rc = _file(
        login,
        "nailrc",
        f"set v15-compat\nset tls-ca-file={login.ca} tls-verify=strict\nset from={FROM} smtp-auth=plain\n"
        f"set mta=smtps://{login.user}:{login.secret}@localhost:{login.port}\n",
    )
    return _run(login, ["s-nail", "-:/", "-S", f"mailx-extra-rc={rc}", "-s", mark, TO], stdin="hello\n")


def neomutt_smtp(login: Login, mark: str) -> Outcome:
    rc = _file(
        login,
        "muttrc",
        f"set ssl_ca_certificates_file={login.ca}\nset smtp_url=smtps://{login.user}@localhost:{login.port}\n"
        f"set smtp_pass={login.secret} from={FROM} record='' use_from=yes hostname=example.org\n",
    )
    return _run(login, ["neomutt", "-n", "-F", str(rc), "-s", mark, TO], stdin="hello\n")


def python_smtplib(login: Login, mark: str) -> Outcome:
    context = ssl.create_default_context(cafile=str(login.ca))
    with smtplib.SMTP_SSL("localhost", login.port, context=context) as client:
        try:
            client.login(login.user, login.secret)
            client.sendmail(FROM, [TO], _mail(mark))
        except smtplib.SMTPException as error:
            return Outcome(False, str(error))
        return Outcome(True, "")


READERS: dict[str, Callable[[Login], Outcome]] = {
    "curl": curl_imap,
    "mbsync": mbsync,
    "offlineimap": offlineimap,
    "neomutt": neomutt_imap,
    "s-nail": s_nail_imap,
    "fetchmail": fetchmail,
    "imaplib": python_imaplib,
}
SENDERS: dict[str, Callable[[Login, str], Outcome]] = {
    "curl": curl_smtp,
    "msmtp": msmtp,
    "swaks": swaks,
    "s-nail": s_nail_smtp,
    "neomutt": neomutt_smtp,
    "smtplib": python_smtplib,
}
