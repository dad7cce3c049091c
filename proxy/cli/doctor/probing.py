"""The probe that fronts make of their backends, over a doctor's connection."""

from __future__ import annotations

import ssl

from proxy.cli.doctor.talk import Talk, Trouble
from proxy.wire.events import BackendEvent, BackendMachine, BackendRefused, Close, Offers, Send, StartTls


def probe_by(
    machine: BackendMachine, talk: Talk, context: ssl.SSLContext, name: str, *, implicit: bool
) -> frozenset[str]:
    """What the other side lists before login. Trouble says where the dialogue stopped."""
    if implicit:
        talk.start_tls(context, name)
    events = machine.connected(tls=implicit)
    while True:
        found = _perform(machine, talk, events, context, name)
        if found is not None:
            return found
        data = talk.receive()
        if not data:
            raise Trouble(f"it closed the connection ({machine.state})")
        events = machine.receive_data(data)


def _perform(
    machine: BackendMachine, talk: Talk, events: list[BackendEvent], context: ssl.SSLContext, name: str
) -> frozenset[str] | None:
    pending = list(events)
    while pending:
        match pending.pop(0):
            case Send(data=data):
                talk.send(data)
            case StartTls():
                talk.start_tls(context, name)
                pending += machine.tls_started()
            case Offers(capabilities=capabilities):
                return capabilities
            case BackendRefused(detail=detail):
                raise Trouble(f"{detail} ({machine.state})")
            case Close(why=why):
                raise Trouble(f"{why} ({machine.state})")
            case _:
                pass
    return None
