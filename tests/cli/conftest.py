from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner, Result

from proxy.cli.main import sidegate
from proxy.portal.api import make_api
from proxy.portal.api.peer import PeerHttp
from tests.admin.office import Office, open_office

CONFIGURATION = """\
store: sqlite:{root}/sidegate.db
state_dir: {root}
run_dir: {root}
tls: {{certificate: {root}/cert.pem, key: {root}/key.pem}}
portal: {{url: "https://login.example.org"}}
default_domain: example.org
hostname: mail.example.org
node: node1
fronts:
  - {{protocol: imap, listen: "127.0.0.1:10993", public: "mail.example.org:993", tls: implicit, backend: mail}}
  - {{protocol: smtp, listen: "127.0.0.1:10587", public: "mail.example.org:587", tls: starttls, backend: submission}}
backends:
  mail:
    protocol: imap
    address: "127.0.0.1:10143"
    tls: none
    login: {{strategy: master_user, user: master, password_file: {root}/master}}
  submission:
    protocol: smtp
    address: "127.0.0.1:10025"
    tls: none
    login: {{strategy: xclient}}
"""


class Shell:
    """`sidegate …` in this process, with a configuration."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "sidegate.yaml"
        self.config.write_text(CONFIGURATION.format(root=root))

    def __call__(self, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(sidegate, arguments, input=stdin, env={"SIDEGATE_CONFIG": str(self.config)})


@pytest.fixture
def shell() -> Iterator[Shell]:
    root = Path(tempfile.mkdtemp(prefix="sidegate-"))  # a socket's path is short
    try:
        yield Shell(root)
    finally:
        shutil.rmtree(root)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture
def office(shell: Shell) -> Iterator[Office]:
    """A core's API on the admin.sock that `shell` asks."""
    with open_office(shell.root) as opened, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shell.root / "admin.sock"))
        config = uvicorn.Config(make_api(opened.desk), http=PeerHttp, ws="none", lifespan="off", log_config=None)
        server = _Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield opened
        finally:
            server.should_exit = True
            thread.join()
