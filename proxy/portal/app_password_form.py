"""The form in which an app password is asked for: what may be chosen, what was chosen, and what is wrong with that."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import ImmutableMultiDict

from proxy.admin.values import MAX_NAME, MAX_NETWORKS
from proxy.config.settings import Config
from proxy.domain import durations
from proxy.domain.model import DEFAULT_SCOPES, Protocol
from proxy.domain.networks import canonical_network, network_of
from proxy.portal.agents import system_name
from proxy.portal.texts import Texts, message

SCOPES = {
    Protocol.IMAP: message("Read mail (IMAP)"),
    Protocol.SMTP: message("Send mail (SMTP)"),
    Protocol.LDAP: message("Directory and chat (LDAP)"),
}
_LENGTHS = {
    "1h": message("an hour"),
    "1d": message("a day"),
    "7d": message("a week"),
    "30d": message("30 days"),
    "90d": message("90 days"),
    "365d": message("a year"),
}
_NAMES = {
    "iPhone": message("Mail on my iPhone"),
    "iPad": message("Mail on my iPad"),
    "Android": message("Mail on my Android phone"),
    "Windows": message("Mail on my Windows computer"),
    "ChromeOS": message("Mail on my Chromebook"),
    "Mac": message("Mail on my Mac"),
    "Linux": message("Mail on my Linux computer"),
}
"""By agents.system_name."""
_MAX_NETWORKS_TEXT = 1000
"""Characters of networks that are looked at: room for MAX_NETWORKS of IPv6. It all has to fit into an address."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be chosen."""

    accounts: Sequence[str]
    """Addresses: the person's own first, then the shared mailboxes they are a member of."""
    scopes: Sequence[Protocol]
    """Those that have a front."""
    lengths: Sequence[str]
    longest: int | None
    """Days after which every app password ends (policy.app_password_max_age)."""
    here: str
    """The network that the person is in now."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, as typed: it comes back into the form."""

    account: str
    name: str
    scopes: frozenset[str]
    here: bool = False
    networks: str = ""
    expires: str = ""

    def query(self) -> str:
        """For the address of the form with this in it."""
        chosen = [("account", self.account), ("name", self.name), *(("scope", scope) for scope in sorted(self.scopes))]
        if self.here:
            chosen.append(("here", "on"))
        return urlencode([*chosen, ("networks", self.networks), ("expires", self.expires)])

    def cidrs(self, offer: Offer) -> list[str]:
        """The networks it may be used from, as written; none: from anywhere."""
        typed = re.split(r"[\s,;]+", self.networks.strip())
        return [network for network in [offer.here if self.here else "", *typed] if network]


def offer(config: Config, accounts: Sequence[str], address: str) -> Offer:
    """What this site offers to a person at this address."""
    fronts = {front.protocol for front in config.fronts}
    longest = config.policy.app_password_max_age
    return Offer(
        accounts=accounts,
        scopes=[protocol for protocol in SCOPES if protocol in fronts],
        lengths=[length for length in _LENGTHS if longest is None or (durations.seconds(length) or 0) <= longest],
        longest=None if longest is None else round(longest / 86400),
        here=network_of(address),
    )


def length_text(texts: Texts, length: str) -> str:
    return texts.say(_LENGTHS[length])


def suggestion(texts: Texts, offer: Offer, account: str, agent: str, taken: Collection[str]) -> Choice:
    """What the form holds when it comes: a name after the device it is read on, and what mail programs need."""
    usual = frozenset(scope.value for scope in offer.scopes if scope in DEFAULT_SCOPES)
    name = stem = texts.say(_NAMES.get(system_name(agent), message("My mail program")))
    number = 1
    while name in taken:
        number += 1
        name = f"{stem} {number}"
    return Choice(account, name, usual or frozenset(scope.value for scope in offer.scopes))


def read(fields: ImmutableMultiDict[str, str], account: str) -> Choice:
    """What was sent, as a form or as Choice.query; `account` if it names none."""
    return Choice(
        account=fields.get("account", account),
        name=fields.get("name", "").strip()[: MAX_NAME + 1],
        scopes=frozenset(fields.getlist("scope")),
        here="here" in fields,
        networks=fields.get("networks", "").strip()[:_MAX_NETWORKS_TEXT],
        expires=fields.get("expires", ""),
    )


def problems(texts: Texts, offer: Offer, choice: Choice) -> dict[str, str]:
    """What is wrong, by field, each with a sentence that says what to do."""
    found: dict[str, str] = {}
    if choice.account not in offer.accounts:
        found["account"] = texts.say("Choose one of these mailboxes.")
    if not choice.name or not choice.name.isprintable() or len(choice.name) > MAX_NAME:
        found["name"] = texts.say("Give it a name of at most %(most)s characters.", most=MAX_NAME)
    if not choice.scopes or not choice.scopes <= {scope.value for scope in offer.scopes}:
        found["scope"] = texts.say("Choose at least one thing that it may do.")
    cidrs = choice.cidrs(offer)
    if len(cidrs) > MAX_NETWORKS:
        found["networks"] = texts.say("Write at most %(most)s networks.", most=MAX_NETWORKS)
    for cidr in cidrs:
        try:
            canonical_network(cidr)
        except ValueError:
            found["networks"] = texts.say(
                "“%(network)s” is not a network. Write for example 192.0.2.0/24, or one address such as 192.0.2.7.",
                network=cidr[:60],
            )
            break
    if choice.expires and choice.expires not in offer.lengths:
        found["expires"] = texts.say("Choose one of these times.")
    return found
