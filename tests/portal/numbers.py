"""People with phone numbers that codes are sent to."""

from __future__ import annotations

from dataclasses import replace

import httpx

from proxy.config.factor_settings import Factors
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.factors import registry
from proxy.portal.gateway_failures import noting
from proxy.store import factors
from proxy.store.factors import NewFactor
from tests.portal.site import Browser, Site, forms_of, text_of
from tests.support.phone_gateway import PhoneGateway

NUMBER = "+34612345678"


def offer(site: Site, gateway: PhoneGateway) -> None:
    """As the portal process does where the configuration says so."""
    desk = site.desk
    config = replace(desk.config, factors=Factors(sms=gateway.settings(), call=gateway.settings()))
    failed = noting(config.node, desk.clock)
    made = registry.make(config, desk.store, desk.sealer, desk.clock, desk.token, texts=desk.texts, failed=failed)
    desk.config, desk.factors = config, made


def give_number(site: Site, account: Account, kind: FactorKind = FactorKind.SMS, number: str = NUMBER) -> int:
    """A number that is registered already."""
    sealed = site.desk.sealer.seal(number.encode(), context=f"factor:{account.id}:{kind}")
    new = NewFactor(kind, f"{kind} {number[-2:]}", sealed=sealed, public={"shown": f"+34 ••• {number[-2:]}"})
    row = site.write(factors.add, account.id, new, site.desk.clock())
    assert row is not None
    return int(row.id)


def press(browser: Browser, page: httpx.Response, action: str, factor: int | None = None) -> httpx.Response:
    """The button of the form that goes there."""
    for form in forms_of(page):
        if form.action.endswith(action) and (factor is None or form.fields["factor"] == str(factor)):
            return browser.post(form.action, **form.fields)
    raise AssertionError(text_of(page))
