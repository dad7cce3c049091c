"""Delta Chat's `dclogin:` address, version 1: scanned as a QR code, or followed on the phone itself."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from proxy.config.settings import FrontTls
from proxy.onboarding.handover import Handover
from proxy.onboarding.servers import Server

SECURITY = {FrontTls.IMPLICIT: "ssl", FrontTls.STARTTLS: "starttls"}


def url(handover: Handover, mail: tuple[Server, Server]) -> str:
    """The address. Without user names Delta Chat uses the address, without a second password the same for SMTP."""
    imap, smtp = mail
    options = {
        "p": handover.revealed(),
        "v": "1",
        "ih": imap.host,
        "ip": imap.port,
        "is": SECURITY[imap.tls],
        "sh": smtp.host,
        "sp": smtp.port,
        "ss": SECURITY[smtp.tls],
    }
    return f"dclogin:{quote(handover.address, safe='@')}?{urlencode(options, quote_via=quote)}"
