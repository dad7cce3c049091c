"""The portal as the supervisor starts it."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from proxy import keyfiles
from proxy.domain.notices import Kind
from proxy.notices.telling import tell
from proxy.store import accounts, hashing
from proxy.store.accounts import NewAccount
from proxy.store.engine import Store
from tests.notices.post_office import PostOffice, post_office
from tests.peers.process import wait_until
from tests.peers.slapd import PEOPLE, SERVICE, SERVICE_PASSWORD, USERS, Slapd
from tests.support.sidegate import Certificates

ROOT = Path(__file__).parents[1]

CONFIG = """\
state_dir: {root}
run_dir: {root}
tls: {{certificate: /nowhere.pem, key: /nowhere.key}}
portal: {{url: "{url}", listen: "127.0.0.1:0"{tls}}}
default_domain: example.org
fronts: [{{protocol: imap, listen: "127.0.0.1:0", tls: implicit, backend: mail}}]
backends:
  mail:
    protocol: imap
    address: 127.0.0.1:1
    tls: none
    login: {{strategy: master_user, user: master, password_file: /nowhere}}
"""


class Portal:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "sidegate.yaml"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = root / "portal.log"
        self._status, self._write = os.pipe()

    def set_up(self) -> None:
        """As `sidegate init` does, without the core's keys: the portal needs none of them."""
        keyfiles.create_portal_key(self.root)
        with closing(Store(f"sqlite:{self.root}/sidegate.db")) as store:
            store.migrate()

    def configure(self, url: str = "https://login.example.org", tls: str = "") -> None:
        self.config.write_text(CONFIG.format(root=self.root, url=url, tls=tls))

    def start(self) -> subprocess.Popen[bytes]:
        with socket.create_server(("127.0.0.1", 0)) as sock, self.log.open("wb") as log:
            self.port = sock.getsockname()[1]
            fds = (sock.fileno(), self._write)
            command = [sys.executable, "-m", "proxy.portal_process", "--config", str(self.config)]
            self.process = subprocess.Popen(
                [*command, "--listen-fd", str(fds[0]), "--status-fd", str(fds[1])], cwd=ROOT, pass_fds=fds, stderr=log
            )
        os.close(self._write)
        return self.process

    def status(self, seconds: float = 30) -> bytes:
        assert select.select([self._status], [], [], seconds)[0]
        return os.read(self._status, 1)

    def close(self) -> None:
        os.close(self._status)
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    it = Portal(tmp_path)
    it.set_up()
    yield it
    it.close()


def test_serves_beats_and_stops(portal: Portal) -> None:
    portal.configure()
    process = portal.start()
    assert portal.status() == b"R"
    response = httpx.get(f"http://127.0.0.1:{portal.port}/")
    assert response.status_code == 200
    assert "server" not in response.headers
    assert portal.status(5) == b"."
    process.terminate()
    assert process.wait(20) == 0


def test_needs_no_file_that_is_not_its_own(portal: Portal) -> None:
    portal.configure()  # names certificates and secrets that do not exist
    portal.start()
    assert portal.status() == b"R"


def test_a_reload_changes_the_pages_and_a_broken_one_does_not(portal: Portal) -> None:
    portal.configure()
    process = portal.start()
    assert portal.status() == b"R"

    def get(path: str) -> int:
        return httpx.get(f"http://127.0.0.1:{portal.port}{path}").status_code

    assert get("/apps") == 404
    portal.configure(url="https://login.example.org/apps")
    os.kill(process.pid, signal.SIGHUP)
    wait_until(lambda: get("/apps") == 200, "the page under its new path")
    portal.config.write_text("nonsense")
    os.kill(process.pid, signal.SIGHUP)
    wait_until(lambda: b"the old one stays in force" in portal.log.read_bytes(), "a log line")
    assert get("/apps") == 200


def test_sends_what_people_are_told_and_goes_where_a_reload_says(portal: Portal) -> None:
    with closing(Store(f"sqlite:{portal.root}/sidegate.db")) as store, store.writing() as c:
        alice = accounts.add(c, NewAccount("alice@example.org", 1.0))

    def tell_alice(name: str) -> None:
        with closing(Store(f"sqlite:{portal.root}/sidegate.db")) as store, store.writing() as c:
            tell(c, alice, Kind.APP_PASSWORD_CREATED, {"name": name}, time.time())

    def mail_by(office: PostOffice) -> str:
        return f', mail: {{from: sidegate@example.org, server: "127.0.0.1:{office.port}", tls: none}}'

    with post_office() as first, post_office() as second:
        portal.configure(tls=mail_by(first))
        process = portal.start()
        assert portal.status() == b"R"
        tell_alice("Phone")
        assert first.something.wait(30)
        portal.configure(tls=mail_by(second))
        os.kill(process.pid, signal.SIGHUP)
        wait_until(lambda: b"configuration reloaded" in portal.log.read_bytes(), "a log line")
        tell_alice("Laptop")
        assert second.something.wait(30)
        (one,), (other,) = first.mails, second.mails
    assert str(one["subject"]) == "New app password “Phone” – example.org"
    assert str(other["subject"]) == "New app password “Laptop” – example.org"
    process.terminate()
    assert process.wait(20) == 0


def test_own_tls_and_a_new_certificate_at_reload(portal: Portal, tmp_path: Path) -> None:
    first, second = Certificates(tmp_path / "first"), Certificates(tmp_path / "second")
    live = tmp_path / "live.pem", tmp_path / "live.key"

    def install(certificates: Certificates) -> None:
        live[0].write_bytes(certificates.certificate.read_bytes())
        live[1].write_bytes(certificates.key.read_bytes())
        live[1].chmod(0o600)

    def get(certificates: Certificates) -> httpx.Response:
        context = ssl.create_default_context(cafile=str(certificates.ca))
        return httpx.get(f"https://localhost:{portal.port}/", verify=context)

    install(first)
    portal.configure(tls=f", tls: {{certificate: {live[0]}, key: {live[1]}}}")
    process = portal.start()
    assert portal.status() == b"R"
    assert get(first).status_code == 200
    install(second)
    os.kill(process.pid, signal.SIGHUP)
    wait_until(lambda: b"configuration reloaded" in portal.log.read_bytes(), "a log line")
    assert get(second).status_code == 200
    with pytest.raises(httpx.ConnectError):
        get(first)


def test_an_unusable_certificate_is_one_sentence(portal: Portal, tmp_path: Path) -> None:
    portal.configure(tls=f", tls: {{certificate: {tmp_path}/none.pem, key: {tmp_path}/none.key}}")
    assert portal.start().wait(30) == 78
    assert portal.log.read_text() == (
        f"sidegate: portal.tls: {tmp_path}/none.pem with key {tmp_path}/none.key: No such file or directory; "
        "both must be PEM files that belong together and that this user may read\n"
    )


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("keys/portal-1", "sidegate: {root}/keys/portal-1 is not there; run: sidegate init\n"),
        ("sidegate.db", "sidegate: store {root}/sidegate.db: is not there: run `sidegate init`\n"),
    ],
)
def test_what_init_makes_is_missed_in_one_sentence(portal: Portal, missing: str, sentence: str) -> None:
    portal.configure()
    (portal.root / missing).unlink()
    assert portal.start().wait(30) == 78
    assert portal.log.read_text() == sentence.format(root=portal.root)


def test_a_person_signs_in(portal: Portal) -> None:
    with closing(Store(f"sqlite:{portal.root}/sidegate.db")) as store, store.writing() as c:
        alice = accounts.add(c, NewAccount("alice@example.org", 0.0))
        accounts.set_password_hash(c, alice.id, hashing.hash_account_password("correct horse"), 0.0)
    portal.configure(url="http://127.0.0.1:8080")
    portal.start()
    assert portal.status() == b"R"
    with httpx.Client(base_url=f"http://127.0.0.1:{portal.port}") as browser:
        assert browser.get("/account-password").headers["location"] == "/sign-in?next=/account-password"
        assert browser.post("/sign-in", data={"name": "alice", "password": "correct horse"}).status_code == 403
        browser.headers["origin"] = "http://127.0.0.1:8080"
        answer = browser.post("/sign-in", data={"name": "alice", "password": "correct horse"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/app-passwords")
        assert browser.get("/account-password").status_code == 200
    for file in portal.root.glob("sidegate.db*"):
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.real
def test_a_person_signs_in_with_the_password_of_a_directory(portal: Portal, tmp_path: Path) -> None:
    """Through the whole process, and a reload from the store to an LDAP server and back."""
    certificates = Certificates(tmp_path / "tls")
    with closing(Store(f"sqlite:{portal.root}/sidegate.db")) as store, store.writing() as c:
        alice = accounts.add(c, NewAccount("alice@example.org", 0.0))
        accounts.set_password_hash(c, alice.id, hashing.hash_account_password("in the store"), 0.0)
    secret = portal.root / "ldap-password"
    secret.write_text(SERVICE_PASSWORD)
    secret.chmod(0o600)
    slapd = Slapd(tmp_path / "slapd", certificates.certificate, certificates.key, certificates.ca)
    directory = (
        f'directory: {{type: ldap, url: "ldaps://localhost:{slapd.ldaps_port}", ca: {certificates.ca}, '
        f'base: "{PEOPLE}", filter: "(mail={{account}})", bind_dn: "{SERVICE}", password_file: {secret}}}\n'
    )

    def reloaded(more: str, times: int) -> None:
        portal.configure(url="http://127.0.0.1:8080")
        portal.config.write_text(portal.config.read_text() + more)
        os.kill(process.pid, signal.SIGHUP)
        wait_until(lambda: portal.log.read_bytes().count(b"configuration reloaded") == times, "a log line")

    def sign_in(password: str) -> int:
        form = {"name": "alice", "password": password}
        headers = {"origin": "http://127.0.0.1:8080"}
        return httpx.post(f"http://127.0.0.1:{portal.port}/sign-in", data=form, headers=headers, timeout=30).status_code

    try:
        portal.configure(url="http://127.0.0.1:8080")
        process = portal.start()
        assert portal.status() == b"R"
        assert sign_in("in the store") == 303
        reloaded(directory, 1)
        assert sign_in(USERS["alice"]) == 303
        reloaded(directory, 2)
        assert sign_in("in the store") == 400
        slapd.stop()
        assert sign_in(USERS["alice"]) == 503
        reloaded("", 3)
        wait_until(lambda: sign_in("in the store") == 303, "the delay after a wrong password")
    finally:
        slapd.stop()


def test_goes_when_nobody_watches(portal: Portal) -> None:
    portal.configure()
    process = portal.start()
    assert portal.status() == b"R"
    read = portal._status
    portal._status = os.open(os.devnull, os.O_RDONLY)
    os.close(read)
    assert process.wait(20) == 0
