"""What the portal asks the core, over admin.sock, always in the name of a person: the header takes away every right
that the person does not have (portal/api/peer.py). A home of httpx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx

import proxy
from proxy.domain.model import Account
from proxy.portal.api.peer import PERSON_HEADER

Json: TypeAlias = Any
"""Decoded JSON; its shapes are those of proxy/admin/views.py."""

ANSWER_WITHIN = 15.0
"""Seconds; a revoke that has to end a hanging worker takes about two, chat servers ten."""


class CoreRefusal(Exception):
    """The core says no. `code` is the API's and stable (`limit`, `name_taken`, `not_found`, `forbidden` …); the text is
    for operators."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class CoreUnavailable(Exception):
    """It cannot answer now: nobody is to blame, and trying again helps. What was asked may have been done."""


class CoreClient:
    """One per process. Calls return the API's JSON, or raise CoreRefusal or CoreUnavailable."""

    def __init__(self, socket: Path, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._http = httpx.AsyncClient(
            transport=transport or httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url="http://sidegate/api/v1/",
            headers={"user-agent": f"sidegate-portal/{proxy.__version__}"},
            timeout=httpx.Timeout(ANSWER_WITHIN, connect=2.0),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def app_passwords(self, person: Account, account: str | None = None) -> list[Json]:
        """The person's, of one account or of every one that is theirs; tombstones behind the live ones."""
        rows: list[Json] = await self._call(person, "GET", "app-passwords", params={"account": account})
        return rows

    async def create(
        self,
        person: Account,
        account: str,
        name: str,
        *,
        scopes: Sequence[str] = (),
        networks: Sequence[str] = (),
        expires: str | None = None,
    ) -> dict[str, Json]:
        """Mint one; the answer holds the secret, grouped, and nothing else ever will."""
        body = {"name": name, "scopes": list(scopes), "networks": list(networks), "expires": expires}
        created: dict[str, Json] = await self._call(person, "POST", f"accounts/{_part(account)}/app-passwords", body)
        return created

    async def rename(self, person: Account, account: str, app_password: str | int, name: str) -> dict[str, Json]:
        """By name or id."""
        body = {"account": account, "app_password": str(app_password), "name": name}
        renamed: dict[str, Json] = await self._call(person, "POST", "app-passwords/rename", body)
        return renamed

    async def narrow(
        self,
        person: Account,
        account: str,
        app_password: str | int,
        *,
        scopes: Sequence[str] = (),
        networks: Sequence[str] = (),
        expires: str | None = None,
    ) -> dict[str, Json]:
        """Fewer scopes, smaller networks, an earlier end; what is not given stays."""
        body = {
            "account": account,
            "app_password": str(app_password),
            "scopes": list(scopes),
            "networks": list(networks),
            "expires": expires,
        }
        narrowed: dict[str, Json] = await self._call(person, "POST", "app-passwords/change", body)
        return narrowed

    async def revoke(self, person: Account, account: str, *names: str | int) -> dict[str, Json]:
        """These, by name or id, or without names every live one. Returns once their sessions are closed."""
        body = {"account": account, "names": [str(name) for name in names], "all": not names}
        done: dict[str, Json] = await self._call(person, "POST", "app-passwords/revoke", body)
        return done

    async def sessions(self, person: Account) -> list[Json]:
        """Live ones of the person's app passwords, the oldest first."""
        rows: list[Json] = await self._call(person, "GET", "sessions")
        return rows

    async def cut(
        self,
        person: Account,
        *,
        account: str | None = None,
        app_password: str | int | None = None,
        session_id: str | None = None,
    ) -> int:
        """End sessions: one, or those of an app password or account. Returns how many."""
        named = None if app_password is None else str(app_password)
        body = {"account": account, "app_password": named, "id": session_id}
        done: dict[str, Json] = await self._call(person, "POST", "sessions/cut", body)
        return int(done["sessions_cut"])

    async def enrolled(self, person: Account) -> None:
        """The person has a factor now: from MFA state enabled to enforced."""
        await self._call(person, "POST", "mfa/enrolled")

    async def _call(
        self,
        person: Account,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        params: Mapping[str, str | None] | None = None,
    ) -> Json:
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            answer = await self._http.request(
                method, path, params=given, json=body, headers={PERSON_HEADER: str(person.id)}
            )
            content = answer.json()
        except httpx.TransportError as error:
            raise CoreUnavailable(f"the core does not answer ({type(error).__name__})") from None
        except ValueError:
            raise CoreUnavailable("the core's answer is no JSON") from None
        if not answer.is_error:
            return content
        try:
            code, text = str(content["error"]["code"]), str(content["error"]["message"])
        except (LookupError, TypeError):
            code, text = "unknown", f"status {answer.status_code}"
        if answer.status_code >= 500:
            raise CoreUnavailable(text)
        raise CoreRefusal(code, text)


def _part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="@")
