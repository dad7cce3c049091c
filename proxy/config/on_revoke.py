"""`on_revoke` of a service account: how the chat server behind it is told to end a person's sessions."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from proxy.config import credentials, values
from proxy.config.reader import KEYS, Bad, Section
from proxy.config.settings import EjabberdKick, KickWay, OnRevoke, ProsodyKick, WebhookKick
from proxy.domain import webhooks
from proxy.domain.secret import Secret

NEEDS: dict[KickWay, dict[str, str]] = {
    KickWay.EJABBERD: {
        "url": "that of mod_http_api: https://chat.example.org:5443/api",
        "chat_user": '"{local}@chat.example.org"',
    },
    KickWay.PROSODY: {"socket": "Prosody's admin_socket", "chat_user": '"{local}@chat.example.org"'},
    KickWay.WEBHOOK: {"url": "what is to be called", "secret": "secret_file: /path of a file"},
}
"""What each way cannot do without, and what to write there."""
TAKES: dict[KickWay, tuple[str, ...]] = {
    KickWay.EJABBERD: ("user", "password", "password_file", "token", "token_file", "ca", "insecure"),
    KickWay.PROSODY: (),
    KickWay.WEBHOOK: ("chat_user", "secret_file", "ca", "insecure"),
}
"""What else means anything to it."""


def read(here: Section, domains: tuple[str, ...], *, certificates: bool, secrets: bool) -> OnRevoke | None:
    """The settings in an `on_revoke` section; None, and errors recorded, when its type is missing or wrong.

    `certificates`, `secrets`: as in loading.load.
    """
    way = here.required("type", values.one_of(KickWay), None, f"write one of {', '.join(KickWay)}")
    if way is None:
        return None
    for key in KEYS["on_revoke"]:
        if key in here and key not in ("type", *NEEDS[way], *TAKES[way]):
            here.fail(key, f"means nothing to type {way}; remove it")
    for key, hint in NEEDS[way].items():
        given = credentials.is_given(here, key, secrets=secrets) if key == "secret" else key in here
        if not given:
            here.problems.add(here.mark, here.at(key), f"is missing; write {hint}")
    chat_user = here.get("chat_user", values.chat_user, "{account}")
    wrong = values.same_name_for_two(chat_user, domains)
    if wrong is not None:
        here.fail("chat_user", wrong)
    if way is KickWay.PROSODY:
        return ProsodyKick(here.get("socket", values.absolute_path, Path()), chat_user)
    url = here.get("url", values.service_url, "")
    insecure = here.get("insecure", values.flag, False)
    ca = _ca(here, url, certificates=certificates)
    _check_protection(here, url, insecure=insecure)
    if way is KickWay.WEBHOOK:
        secret = credentials.read(here, "secret", check_webhook_secret, secrets=secrets)
        return WebhookKick(url, secret, chat_user, ca, insecure)
    user = here.get("user", values.text, "")
    password = credentials.read(here, "password", secrets=secrets)
    token = credentials.read(here, "token", secrets=secrets)
    _check_login(here, secrets=secrets)
    return EjabberdKick(url, chat_user, user, password, token, ca, insecure)


def check_webhook_secret(secret: str) -> None:
    """As domain/webhooks.py takes it."""
    try:
        webhooks.key_of(Secret(secret))
    except ValueError:
        raise Bad(
            'must be whsec_ and 24 to 64 bytes in base64; make one: echo "whsec_$(openssl rand -base64 32)"'
        ) from None


def _ca(here: Section, url: str, *, certificates: bool) -> Path | None:
    if "ca" in here and url.startswith("http:"):
        here.fail("ca", "means nothing with http://; remove it")

    return here.get("ca", partial(values.ca, certificates=certificates), None)


def _check_protection(here: Section, url: str, *, insecure: bool) -> None:
    scheme, host = values.scheme_and_host(url)
    if scheme != "http":
        if insecure and scheme:
            here.fail("insecure", "means nothing with https://, which is always verified; remove it")
        return
    if values.is_loopback(host):
        return
    what = "names and secrets"
    if not insecure:
        message = f"http leaves {what} readable on the way to an address that is not loopback"
        here.fail("url", f"{message}; write https, or say insecure: true")
    else:
        here.problems.warn(here.mark_of("insecure"), here.at("insecure"), f"{what} go to {host} in the clear")


def _check_login(here: Section, *, secrets: bool) -> None:
    by_token = "token" in here or "token_file" in here
    by_password = "password" in here or "password_file" in here
    if by_token and ("user" in here or by_password):
        here.fail("token" if "token" in here else "token_file", "stands beside user or password; keep one of the two")
    elif by_password and "user" not in here:
        here.fail("user", "is missing; write whose password it is, such as kicker@admin.example.org")
    elif "user" in here and not credentials.is_given(here, "password", secrets=secrets):
        here.fail("password", "is missing; write password_file: /path of a file")
