"""Setting up one program, in words: what to do, what to copy, and where the app password will be kept.

Texts are message ids of the catalogues, in English, with %(address)s for the account; they are translated where shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.config.settings import Config, FrontTls
from proxy.domain.messages import message
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
        message("Thunderbird on a computer"),
        MAIL,
        (
            message("In Thunderbird open the menu, then New Account, then Email."),
            message("Enter your name and the address %(address)s. For the password paste the app password."),
            message(
                "Thunderbird finds the servers by itself. If it does not, set them up by hand: copy the values below."
            ),
        ),
        message("Thunderbird keeps the app password on this computer."),
    ),
    Program(
        "thunderbird-android",
        message("Thunderbird for Android"),
        MAIL,
        (
            message("Open Thunderbird on the phone. On its first screen, or later in Settings, choose Import."),
            message("Choose Scan QR code and point the phone at this code. The phone's own camera app cannot read it."),
            message("K-9 Mail cannot scan it: choose to add an account there, and copy the values below."),
        ),
        message("Thunderbird keeps the app password on the phone."),
    ),
    Program(
        "apple",
        message("Mail on an iPhone, iPad or Mac"),
        MAIL,
        (
            message(
                "On an iPhone or iPad scan this code with the camera, or open the link in Safari. Allow the download."
            ),
            message("Open Settings, tap Profile Downloaded at the top, then Install."),
            message(
                "On a Mac open the link, then the downloaded file. Search System Settings for Profiles and install it."
            ),
            message("Delete the downloaded file afterwards: the app password is in it."),
        ),
        message("The device keeps the app password. iCloud Keychain may copy it, encrypted, to your other devices."),
    ),
    Program(
        "outlook",
        message("Outlook"),
        MAIL,
        (
            message(
                "In classic Outlook choose File, then Add Account. Enter %(address)s, and under Advanced options tick "
                "“Let me set up my account manually”. Choose IMAP."
            ),
            message("In other Outlooks choose Add Account and enter %(address)s. If asked for a provider choose IMAP."),
            message(
                "Copy the values below, first for incoming, then for outgoing mail. Both take the same app password."
            ),
        ),
        message(
            "Classic Outlook keeps the app password on the computer. The new Outlook for Windows, and Outlook on a Mac "
            "or phone, may hand it to Microsoft, whose servers then fetch your mail and keep a copy. If you do not "
            "want that, use another program."
        ),
    ),
    Program(
        "delta-chat",
        message("Delta Chat"),
        MAIL,
        (
            message("In Delta Chat choose Scan QR code, point the phone at this code, and confirm that you log in."),
            message("Are you reading this on the phone itself? Then open the link."),
        ),
        message("Delta Chat keeps the app password on the phone."),
    ),
    Program(
        "other",
        message("Another mail program"),
        frozenset(),
        (
            message("Add an account in the program. If it asks for a kind, choose IMAP."),
            message("Copy the values below. If it asks how to sign in, choose “normal password”."),
        ),
        message(
            "Most programs keep the app password on the device. Some hand it to their maker, whose servers then fetch "
            "your mail: the program's privacy notice says so. If you do not want that, use another program."
        ),
    ),
    Program(
        "directory",
        message("A program that reads the directory (LDAP)"),
        frozenset({Protocol.LDAP}),
        (
            message(
                "Copy the values below into its settings for the directory. The name it signs in with is the whole DN."
            ),
        ),
        message("The program keeps the app password on its device."),
    ),
)


def programs(config: Config, handover: Handover) -> list[Program]:
    """Those that can be set up with this app password and these fronts."""
    usable = {protocol for protocol in handover.scopes if best(config, protocol)}
    return [program for program in PROGRAMS if (program.needs <= usable if program.needs else usable & MAIL)]


def groups(config: Config, handover: Handover) -> list[Group]:
    """The values to copy, server by server."""
    found = []
    for protocol, title in (
        (Protocol.IMAP, message("Incoming mail (IMAP)")),
        (Protocol.SMTP, message("Outgoing mail (SMTP)")),
    ):
        server = best(config, protocol) if protocol in handover.scopes else None
        if server is not None:
            found.append(Group(title, _rows(server, message("User name"), handover.address)))
    directory = directory_login(config, handover.address) if Protocol.LDAP in handover.scopes else None
    if directory is not None:
        rows = (
            *_rows(directory.server, message("Name (bind DN)"), directory.dn),
            Row(message("Search in (base DN)"), directory.base),
        )
        found.append(Group(message("Directory (LDAP)"), rows))
    return found


def _rows(server: Server, name: str, value: str) -> tuple[Row, ...]:
    return (
        Row(message("Server"), server.host),
        Row(message("Port"), str(server.port)),
        Row(message("Security"), SECURITY[server.tls]),
        Row(name, value),
        Row(message("Password"), None),
    )
