"""A real Postfix 3.7: submission backend that delivers by LMTP into Dovecot."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.peers.dovecot import Dovecot
from tests.peers.process import Server, free_ports


class Postfix:
    """Two listeners: `xclient_port` trusts 127.0.0.1 for XCLIENT; `sasl_port` takes SASL from Dovecot. Both offer
    STARTTLS. `root` must be reachable by other uids (0755)."""

    def __init__(self, root: Path, certificate: Path, key: Path, dovecot: Dovecot) -> None:
        self.root = root
        self.xclient_port, self.sasl_port = free_ports(2)
        for name in ("etc", "queue", "data"):
            (root / name).mkdir(parents=True)
        root.chmod(0o755)
        subprocess.run(["chown", "postfix", str(root / "data")], check=True)
        (root / "etc" / "senders").write_text("alice@example.org alice\nbob@example.org bob\n")
        (root / "etc" / "main.cf").write_text(self._main(certificate, key, dovecot))
        (root / "etc" / "master.cf").write_text(self._master(dovecot))
        self.server = Server(
            ["postfix", "-c", str(root / "etc"), "start-fg"], root / "postfix.out", [self.xclient_port, self.sasl_port]
        )
        self.server.log = root / "postfix.log"
        self.server.wait()

    def _main(self, certificate: Path, key: Path, dovecot: Dovecot) -> str:
        return f"""
compatibility_level = 3.6
queue_directory = {self.root}/queue
data_directory = {self.root}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {self.root}/postfix.log
maillog_file_prefixes = {self.root}
myhostname = mail.example.org
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
virtual_mailbox_domains = example.org
virtual_mailbox_maps = static:ok
virtual_transport = lmtp:inet:127.0.0.1:{dovecot.lmtp_port}
smtpd_sender_login_maps = texthash:{self.root}/etc/senders
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {certificate}
smtpd_peername_lookup = no
message_size_limit = 20480000
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
"""

    def _master(self, dovecot: Dovecot) -> str:
        sasl = f"""
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_type=dovecot
  -o smtpd_sasl_path=inet:127.0.0.1:{dovecot.auth_port}
  -o smtpd_sender_restrictions=reject_sender_login_mismatch
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject"""
        return f"""
127.0.0.1:{self.xclient_port} inet n - n - - smtpd{sasl}
  -o smtpd_authorized_xclient_hosts=127.0.0.1
127.0.0.1:{self.sasl_port} inet n - n - - smtpd{sasl}
  -o smtpd_authorized_xclient_hosts=127.0.0.1
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
lmtp      unix - - n - - lmtp
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

    def log(self) -> str:
        return self.server.text()

    def stop(self) -> None:
        subprocess.run(["postfix", "-c", str(self.root / "etc"), "stop"], capture_output=True, timeout=20, check=False)
        self.server.stop()
