"""What Thunderbird for Android scans: its desktop sibling's "Export for Mobile", format version 1 (2025-02-06).

Nested JSON arrays. The reader throws the whole code away for one wrong value, and reads strings where the format allows
null: nothing is null here. K-9 Mail does not read it, and a phone's camera program cannot open it.
"""

from __future__ import annotations

import json

from proxy.config.settings import FrontTls
from proxy.onboarding.handover import Handover
from proxy.onboarding.servers import Server

FORMAT_VERSION = 1
ONE_CODE_OF_ONE = [1, 1]
IMAP = SMTP = 0
SECURITY = {FrontTls.STARTTLS: 2, FrontTls.IMPLICIT: 3}
PASSWORD_CLEARTEXT = 1
"""Inside TLS. OAuth (6) works only for hosts that are built into the app."""


def payload(handover: Handover, mail: tuple[Server, Server]) -> str:
    """The text of the QR code: one account with its app password."""
    imap, smtp = ([server.host, server.port, SECURITY[server.tls], PASSWORD_CLEARTEXT] for server in mail)
    address, secret = handover.address, handover.revealed()
    incoming = [IMAP, *imap, address, address, secret]
    outgoing = [[[SMTP, *smtp, address, secret], [address, handover.sender]]]
    return json.dumps([FORMAT_VERSION, ONE_CODE_OF_ONE, incoming, outgoing], ensure_ascii=False, separators=(",", ":"))
