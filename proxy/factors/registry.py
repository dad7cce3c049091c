"""Which kinds of factor there are here."""

from __future__ import annotations

from collections.abc import Callable

from proxy.config.settings import Config
from proxy.domain.factor_kinds import FactorKind
from proxy.factors import Factor, passkey, push
from proxy.factors.passkey import Passkey
from proxy.factors.push import Push, Wake
from proxy.factors.recovery_codes import RecoveryCodes
from proxy.factors.sealing import Sealer
from proxy.factors.totp import Totp
from proxy.store.threads import StoreThreads


def make(
    config: Config,
    store: StoreThreads,
    sealer: Sealer,
    clock: Callable[[], float],
    token: Callable[[int], bytes],
    wake: Wake = lambda account, phones: None,
) -> dict[FactorKind, Factor]:
    """One of each kind, in the order that people are offered them. `token(n)`: n random bytes; `wake`: says to phones
    that they are asked."""
    portal = config.portal
    made: list[Factor] = [Totp(store, sealer, portal.name, clock, token)]
    if passkey.usable(portal.url):
        made.insert(0, Passkey(store, config.node, portal.url, portal.name, clock, token))
    if push.usable(portal.url):
        made.append(Push(store, sealer, portal.url, clock, token, wake))
    made.append(RecoveryCodes(store, sealer, clock, token))
    return {factor.kind: factor for factor in made}
