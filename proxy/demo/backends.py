"""The embedded backends in a process of their own, as a mail server would be.

python -m proxy.demo.backends --imap-fd N --smtp-fd N --status-fd N --master NAME --password-file FILE
    [--ldap-fd N --service-password-file FILE] ADDRESS…
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.internet import asyncioreactor

from proxy import logs
from proxy.child import report_ready, settle
from proxy.demo.mailbox import Folders
from proxy.domain.secret import Secret


def main(argv: list[str]) -> int:
    """Serve until SIGTERM, or until the demo is gone."""
    parser = argparse.ArgumentParser(prog="proxy.demo.backends")
    parser.add_argument("--imap-fd", type=int, required=True)
    parser.add_argument("--smtp-fd", type=int, required=True)
    parser.add_argument("--ldap-fd", type=int)
    parser.add_argument("--status-fd", type=int, required=True)
    parser.add_argument("--master", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--service-password-file", type=Path)
    parser.add_argument("accounts", nargs="+", metavar="ADDRESS")
    arguments = parser.parse_args(argv)
    if (arguments.ldap_fd is None) != (arguments.service_password_file is None):
        parser.error("--ldap-fd and --service-password-file go together")
    settle(arguments.status_fd)
    for listening in (arguments.imap_fd, arguments.smtp_fd):
        os.set_blocking(listening, False)
    logs.setup("warning")

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    from twisted.internet import reactor as installed

    from proxy.demo.directory import Directory
    from proxy.demo.imap import ImapBackend
    from proxy.demo.ldap import LdapBackend
    from proxy.demo.smtp import SmtpBackend
    from proxy.demo.welcome import welcome_mails

    reactor: Any = installed
    accounts = {address: Folders() for address in arguments.accounts}
    for address, folders in accounts.items():
        for mail in welcome_mails(address):
            folders.inbox.deliver(mail)

    password = _secret(arguments.password_file)
    reactor.adoptStreamPort(arguments.imap_fd, socket.AF_INET, ImapBackend(accounts, arguments.master, password))
    smtp = socket.socket(fileno=arguments.smtp_fd)

    async def serve() -> None:
        await loop.create_server(lambda: SmtpBackend(accounts, loop, arguments.master, password), sock=smtp)
        if arguments.ldap_fd is not None:
            directory, service = Directory(arguments.accounts), _secret(arguments.service_password_file)
            ldap = socket.socket(fileno=arguments.ldap_fd)
            await loop.create_server(lambda: LdapBackend(directory, service), sock=ldap)
        report_ready(loop, arguments.status_fd, reactor.stop)

    started = loop.create_task(serve())
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, lambda *_: reactor.callFromThread(reactor.stop))
    reactor.run()
    return 0 if started.done() and started.exception() is None else 1


def _secret(file: Path) -> Secret:
    return Secret(file.read_text().rstrip("\n"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
