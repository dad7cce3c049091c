"""What a front worker claims, before it is believed: it reads what strangers send and may be in their hands.

Lengths and ranges are the link's (link/messages.py), whose session is whose is the table's. Here: values that end up in
log, audit, history and listings are ones that we know or have cleaned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.domain.model import Protocol
from proxy.domain.networks import network_of
from proxy.domain.verdicts import Reason
from proxy.link.messages import RefusalRow
from proxy.wire.events import clean_program


@dataclass(frozen=True, slots=True)
class Refusal:
    """A RefusalRow that can be written down."""

    row: RefusalRow
    reason: Reason
    protocol: Protocol
    network: str
    program: str | None


def program(raw: str | None) -> str | None:
    """A program's name as clean as our own workers send it."""
    return clean_program(raw) if raw else None


def is_address(text: str) -> bool:
    return network_of(text) != text


def refusals(rows: Iterable[RefusalRow]) -> tuple[list[Refusal], int]:
    """Those that make sense to this version, and how many tries the others stand for."""
    known: list[Refusal] = []
    others = 0
    for row in rows:
        try:
            reason, protocol = Reason(row.reason), Protocol(row.protocol)
        except ValueError:
            others += row.count
            continue
        if is_address(row.address):
            known.append(Refusal(row, reason, protocol, network_of(row.address), program(row.program)))
        else:
            others += row.count
    return known, others
