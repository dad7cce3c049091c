"""Setting up one program, in words: what to do, what to copy, and where the app password will be kept.

Texts are message ids of the catalogues, in English, with %(address)s for the account; they are translated where shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.config.settings import Config, FrontTls
from proxy.domain.model import Protocol
from proxy.onboarding.handover import MAIL, Handover
from proxy.onboarding.servers import Server, best, directory_login

SECURITY = {FrontTls.IMPLICIT: "SSL/TLS", FrontTls.STARTTLS: "STARTTLS"}
"""As programs call it; not translated by most of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One value to copy. The app password is its own row: `value` is None."""

    label: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """The values of one server."""

    title: str
    protocol: Protocol
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """One kind of program, as a person knows it."""

    id: str
    title: str
    needs: frozenset[Protocol]
    """Scopes without which it is of no use."""
    steps: tuple[str, ...]
    keeps: str
    """Where the app password is afterwards."""


PROGRAMS = (
    Program(
        "thunderbird",
        "Thunderbird on a computer",
        MAIL,
        (
            "In Thunderbird open the menu, then New Account, then Email.",
            "Enter your name and the address %(address)s. Where it asks for a password, paste the app password.",
            "Thunderbird finds the servers by itself. If it does not, configure it manually and copy the values.",
        ),
        "Thunderbird keeps the app password on this computer.",
    ),
    Program(
        "thunderbird-android",
        "Thunderbird for Android",
        MAIL,
        (
            "Open Thunderbird on the phone. On its first screen, or later in Settings, choose Import.",
            "Choose Scan QR code and point the phone at this code. The phone's own camera program cannot read it.",
            "K-9 Mail cannot scan it: choose to add an account there, and copy the values.",
        ),
        "Thunderbird keeps the app password on the phone.",
    ),
    Program(
        "apple",
        "Mail on an iPhone, iPad or Mac",
        MAIL,
        (
            "On an iPhone or iPad scan this code with the camera, or open the link in Safari, and allow the download.",
            "Open Settings, tap Profile Downloaded at the top, then Install.",
            "On a Mac open the link, then the downloaded file. In System Settings search for Profiles and install it.",
            "Delete the downloaded file afterwards: the app password is in it.",
        ),
        "The device keeps the app password. iCloud Keychain, if on, may copy it, encrypted, to your other devices.",
    ),
    Program(
        "outlook",
        "Outlook",
        MAIL,
        (
            "In classic Outlook choose File, then Add Account. Enter %(address)s, and under Advanced options tick "
            "“Let me set up my account manually”. Choose IMAP.",
            "In other Outlooks choose Add Account, enter %(address)s and, if asked for a provider, choose IMAP.",
            "Copy the values, first for incoming, then for outgoing mail. The app password is the same for both.",
        ),
        "Classic Outlook keeps the app password on the computer. The new Outlook for Windows, and Outlook on a Mac or "
        "phone, may hand it to Microsoft, whose servers then fetch your mail and keep a copy. If you do not want that, "
        "use another program.",
    ),
    Program(
        "delta-chat",
        "Delta Chat",
        MAIL,
        (
            "In Delta Chat choose Scan QR code, point the phone at this code, and confirm that you want to log in.",
            "Are you reading this on the phone itself? Then open the link.",
        ),
        "Delta Chat keeps the app password on the phone.",
    ),
    Program(
        "other",
        "Another mail program",
        frozenset(),
        (
            "Add an account in the program. If it asks for a kind, choose IMAP.",
            "Copy the values. If it asks how to sign in, choose “normal password”.",
        ),
        "Most programs keep the app password on the device. Some hand it to their maker, whose servers then fetch your "
        "mail: the program's privacy notice says so. If you do not want that, use another program.",
    ),
    Program(
        "directory",
        "A program that reads the directory (LDAP)",
        frozenset({Protocol.LDAP}),
        ("In the program's settings for the directory copy the values. The name to sign in with is the whole DN.",),
        "The program keeps the app password on its device.",
    ),
)


def programs(config: Config, handover: Handover) -> list[Program]:
    """Those that can be set up with this app password and these fronts."""
    usable = {protocol for protocol in handover.scopes if best(config, protocol)}
    return [program for program in PROGRAMS if (program.needs <= usable if program.needs else usable & MAIL)]


def groups(config: Config, handover: Handover, program: Program) -> list[Group]:
    """The values to copy for one of them, server by server."""
    found = []
    if program.needs != {Protocol.LDAP}:
        for protocol, title in ((Protocol.IMAP, "Incoming mail (IMAP)"), (Protocol.SMTP, "Outgoing mail (SMTP)")):
            server = best(config, protocol) if protocol in handover.scopes else None
            if server is not None:
                found.append(Group(title, protocol, _rows(server, "User name", handover.address)))
        return found
    directory = directory_login(config, handover.address)
    if directory is not None:
        rows = (*_rows(directory.server, "Name (bind DN)", directory.dn), Row("Search in (base DN)", directory.base))
        found.append(Group("Directory (LDAP)", Protocol.LDAP, rows))
    return found


def _rows(server: Server, name: str, value: str) -> tuple[Row, ...]:
    return (
        Row("Server", server.host),
        Row("Port", str(server.port)),
        Row("Security", SECURITY[server.tls]),
        Row(name, value),
        Row("Password", None),
    )
