"""`sidegate doctor`: does what is configured work, here and now? Each check says what it found and what to do.

finding.py       what a check says
host.py          configuration, keys, store, core, clock
certificates.py  names and expiry
fronts.py        can a client reach them, and is TLS there
portal.py        is it there under its URL, and its directory
backends.py      can we reach them, and do they answer as they should
smtp_trust.py    what a submission server believes that it should not
probing.py       the dialogue of a probe
talk.py          a patient, blocking connection for the above
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proxy.admin.exposure import exposures
from proxy.cli.doctor import backends, certificates, fronts, host, portal
from proxy.cli.doctor.finding import Finding, State


def examine(path: Path) -> Iterator[Finding]:
    """Every finding, as it is made. Nothing is changed and nobody is logged in."""
    config, findings = host.configuration(path)
    yield from findings
    if config is None:
        return
    yield from host.keys(config)
    yield from host.store(config)
    yield from host.core(config)
    yield from host.clock(config)
    yield from certificates.certificates(config)
    yield from fronts.fronts(config)
    yield from backends.backends(config)
    yield from portal.portal(config)
    for sentence in exposures(config):
        yield Finding("exposure", State.NOTE, sentence, "docs/backends says how to narrow it")
