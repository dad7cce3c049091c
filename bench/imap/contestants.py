"""The IMAP proxies under test, each with one worker, in front of the same stub backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.measure import Contestant
from tests.peers.process import Server, free_ports, listening, wait_until
from tests.support.sidegate import Certificates, Sidegate

USER = "alice@example.org"
ANY_PASSWORD = "any-password"
"""For peers that take it."""


class Nginx(Contestant):
    """The mail proxy; its auth_http is answered at once by the same nginx, which is its best case."""

    def __init__(self, root: Path, certificates: Certificates, backend: int, buffer: str | None) -> None:
        self.name = "nginx" if buffer is None else f"nginx {buffer}"
        root.mkdir()
        root.chmod(0o755)
        port, auth = free_ports(2)
        proxy_buffer = f"proxy_buffer {buffer};" if buffer else ""
        (root / "nginx.conf").write_text(f"""
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log warn; worker_rlimit_nofile 20000;
events {{ worker_connections 18000; }}
http {{ access_log off; server {{ listen 127.0.0.1:{auth} backlog=4096; location / {{
  add_header Auth-Status OK; add_header Auth-Server 127.0.0.1; add_header Auth-Port {backend}; return 204; }} }} }}
mail {{ auth_http 127.0.0.1:{auth}/; imap_capabilities IMAP4rev1 SASL-IR ID; {proxy_buffer}
  ssl_certificate {certificates.certificate}; ssl_certificate_key {certificates.key}; ssl_protocols TLSv1.3 TLSv1.2;
  ssl_session_cache shared:s:10m;
  server {{ listen 127.0.0.1:{port} ssl backlog=4096; protocol imap; imap_auth plain login; }} }}
""")
        self._server = Server(["nginx", "-c", f"{root}/nginx.conf"], root / "out", [port])
        self.pid = self._server.process.pid
        self.arguments = [str(port), ANY_PASSWORD]
        self._server.wait()

    def stop(self) -> None:
        self._server.stop()


class DovecotProxy(Contestant):
    """login_proxy in high-performance mode (service_count = 0, one process); any password is right, its best case."""

    name = "dovecot"

    def __init__(self, root: Path, certificates: Certificates, backend: int) -> None:
        for folder in (root, root / "run", root / "state"):
            folder.mkdir()
        root.chmod(0o755)
        (port,) = free_ports(1)
        (root / "dovecot.conf").write_text(f"""
protocols = imap
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
ssl = required
ssl_cert = <{certificates.certificate}
ssl_key = <{certificates.key}
ssl_min_protocol = TLSv1.2
auth_mechanisms = plain login
default_vsz_limit = 2G
service imap-login {{
  service_count = 0
  process_limit = 1
  client_limit = 18000
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {port}
    ssl = yes
  }}
}}
service auth {{
  client_limit = 20000
}}
service anvil {{
  client_limit = 20000
}}
passdb {{
  driver = static
  args = proxy=y host=127.0.0.1 port={backend} nopassword=y
}}
""")
        self._server = Server(["dovecot", "-F", "-c", f"{root}/dovecot.conf"], root / "out", [port])
        self.pid = self._server.process.pid
        self.arguments = [str(port), ANY_PASSWORD]
        self._server.wait()

    def stop(self) -> None:
        self._server.stop()


class Gate(Contestant):
    """sidegate as installed: supervisor, core, portal, one front worker; the app password is really verified."""

    name = "sidegate"

    def __init__(self, root: Path, certificates: Certificates, backend: int) -> None:
        password = root.parent / "master-password"
        password.write_text("m")
        password.chmod(0o600)
        mail = {
            "protocol": "imap",
            "address": f"127.0.0.1:{backend}",
            "tls": "none",
            "username": "{account}",
            "login": {"strategy": "master_user", "user": "master", "password_file": str(password)},
        }
        limits = {"sessions_per_app_password": 10000, "sessions_per_account": 10000, "connections_per_network": 10000}
        self._gate = Sidegate(root, certificates, {"mail": mail}, extra={"limits": limits}).start()
        assert self._gate.server is not None
        self.pid = self._gate.server.process.pid
        self._gate.add_account(USER)
        secrets = [self._gate.mint(USER, f"app {number}") for number in range(40)]
        self.arguments = [str(self._gate.ports["imap", "implicit"]), secrets[-1]]

    def stop(self) -> None:
        self._gate.stop()


class Stub:
    """The backend; on the load generator's CPU."""

    def __init__(self, cpu: int) -> None:
        (self.port,) = free_ports(1)
        argv = [sys.executable, "-m", "bench.imap.stub_backend", str(self.port)]
        self._process = subprocess.Popen(["taskset", "-c", str(cpu), *argv])
        wait_until(lambda: listening(self.port), "the stub backend")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
