"""Refusals that cost no question, counted for a second and then reported to the core in one message."""

from __future__ import annotations

from proxy.domain.login_names import canonical
from proxy.domain.model import ClientInfo
from proxy.domain.networks import network_of, site_of
from proxy.domain.verdicts import Reason
from proxy.link.messages import RefusalRow, Refusals

MAX_ROWS = 1000
"""A flood with ever new names fills the table; what finds it full is only counted."""


def could_be_login_name(raw: str) -> bool:
    """Only then may it be reported: people type passwords into name fields."""
    return canonical(raw, "invalid") is not None


class RefusalTable:
    """Rows by (network, login name, protocol, program, reason)."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str, str | None, str], RefusalRow] = {}
        self._overflow = 0
        self.limited: frozenset[str] = frozenset()
        """Networks over a limit: their tries are counted without name and program."""

    def count(
        self,
        protocol: str,
        reason: Reason,
        client: ClientInfo,
        program: str | None,
        session_id: str,
        *,
        login_name: str = "",
        mechanism: str = "",
        backend: str = "",
        detail: str = "",
    ) -> None:
        """One more. `login_name` as typed; it is dropped unless it could be one."""
        network = network_of(client.address)
        if network in self.limited or site_of(network) in self.limited:
            login_name, program = "", None
        elif not could_be_login_name(login_name):
            login_name = ""
        key = (network, login_name, protocol, program, reason)
        row = self._rows.get(key)
        if row is not None:
            row.count += 1
            row.address, row.session_id, row.tls, row.mechanism = client.address, session_id, client.tls, mechanism
        elif len(self._rows) >= MAX_ROWS:
            self._overflow += 1
        else:
            self._rows[key] = RefusalRow(
                protocol,
                reason,
                network,
                client.address,
                login_name,
                program,
                mechanism,
                client.tls,
                session_id,
                1,
                backend,
                detail,
            )

    def take(self) -> Refusals | None:
        """What came together since the last time; None if nothing."""
        if not self._rows and not self._overflow:
            return None
        report = Refusals(list(self._rows.values()), self._overflow)
        self._rows = {}
        self._overflow = 0
        return report
