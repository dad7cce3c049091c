"""doctor against the Dovecot and Postfix of Debian 12, whose Postfix takes bare line feeds as it is delivered."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cli.doctor import backends
from proxy.cli.doctor.finding import State
from proxy.config.settings import BackendTls, Strategy
from proxy.domain.model import Protocol
from tests.admin.office import configuration
from tests.cli.test_doctor import a_backend, look
from tests.peers.dovecot import Dovecot
from tests.peers.postfix import Postfix
from tests.support.sidegate import Certificates

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def peers() -> Iterator[tuple[Dovecot, Postfix, Certificates]]:
    root = Path(tempfile.mkdtemp(prefix="sidegate-doctor-"))
    root.chmod(0o755)
    certificates = Certificates(root / "tls")
    dovecot = Dovecot(root / "dovecot", certificates.certificate, certificates.key)
    try:
        postfix = Postfix(root / "postfix", certificates.certificate, certificates.key, dovecot)
        try:
            yield dovecot, postfix, certificates
        finally:
            postfix.stop()
    finally:
        dovecot.stop()
        shutil.rmtree(root, ignore_errors=True)


def test_postfix_trusts_us_and_takes_bare_lf(tmp_path: Path, peers: tuple[Dovecot, Postfix, Certificates]) -> None:
    _, postfix, certificates = peers
    plain = a_backend(Protocol.SMTP, postfix.xclient_port, Strategy.XCLIENT)
    secured = a_backend(
        Protocol.SMTP,
        postfix.xclient_port,
        Strategy.XCLIENT,
        tls=BackendTls.STARTTLS,
        ca=certificates.ca,
        server_name="localhost",
    )
    for backend in (plain, secured):
        found = look(configuration(tmp_path), backend)
        assert [finding.state for finding in found] == [State.OK, State.OK, State.WARNING], found
        assert "takes XCLIENT from this host and not from clients" in found[1].text
        assert "accepts a bare LF" in found[2].text


def test_dovecot_answers_the_probe(tmp_path: Path, peers: tuple[Dovecot, Postfix, Certificates]) -> None:
    dovecot, _, certificates = peers
    context = {"tls": BackendTls.STARTTLS, "ca": certificates.ca, "server_name": "localhost"}
    backend = a_backend(Protocol.IMAP, dovecot.imap_port, Strategy.MASTER_USER, **context)
    (finding,) = look(configuration(tmp_path), backend)
    assert finding.state is State.OK, finding
    offers = backends.probe(backend, backend.addresses[0], backends.client_context(backend), "localhost")
    assert "AUTH=PLAIN" in offers
