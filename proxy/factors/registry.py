"""Which kinds of factor there are here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proxy.config.factor_settings import PhoneCodes
from proxy.config.settings import Config
from proxy.domain.factor_kinds import FactorKind
from proxy.factors import Factor, passkey, push
from proxy.factors.passkey import Passkey
from proxy.factors.push import Push, Wake
from proxy.factors.recovery_codes import RecoveryCodes
from proxy.factors.sealing import Sealer
from proxy.factors.totp import Totp
from proxy.store.threads import StoreThreads

if TYPE_CHECKING:
    from proxy.factors.gateways import Gateway
    from proxy.factors.phone_codes import Failed, Texts


def make(
    config: Config,
    store: StoreThreads,
    sealer: Sealer,
    clock: Callable[[], float],
    token: Callable[[int], bytes],
    wake: Wake = lambda account, phones: None,
    texts: Mapping[str, Texts] | None = None,
    failed: Failed = lambda c, kind, reason: None,
) -> dict[FactorKind, Factor]:
    """One of each kind, in the order that people are offered them. `token(n)`: n random bytes; `wake`: says to phones
    that they are asked; `texts`: by language, for what is sent to phone numbers; `failed`: told of what was not."""
    portal = config.portal
    made: list[Factor] = [Totp(store, sealer, portal.name, clock, token)]
    if passkey.usable(portal.url):
        made.insert(0, Passkey(store, config.node, portal.url, portal.name, clock, token))
    if push.usable(portal.url):
        made.append(Push(store, sealer, portal.url, clock, token, wake))
    if config.factors.sms is not None or config.factors.call is not None:  # phonenumbers takes its memory
        from proxy.factors import call, sms
        from proxy.factors.phone_codes import ByPhone, Site

        site = Site(portal.name, urlsplit(portal.url).hostname or "")
        for way, settings in ((sms.WAY, config.factors.sms), (call.WAY, config.factors.call)):
            if settings is not None:
                gateway = _gateway(settings, clock, token)
                by_language = texts or {}
                made.append(ByPhone(way, settings, gateway, store, sealer, site, by_language, clock, token, failed))
    made.append(RecoveryCodes(store, sealer, clock, token))
    return {factor.kind: factor for factor in made}


def _gateway(settings: PhoneCodes, clock: Callable[[], float], token: Callable[[int], bytes]) -> Gateway:
    """Libraries of the one that is configured are loaded, and no others."""
    if settings.webhook is not None:
        from proxy.factors import webhook

        return webhook.make(settings.webhook, clock, token)
    assert settings.apprise is not None  # the configuration holds that
    from proxy.factors import by_apprise

    return by_apprise.make(settings.apprise)
