"""Passkeys: WebAuthn with user verification, so that one is two factors at once and may be the only step.

https://www.w3.org/TR/webauthn-2/ sections 7.1 (registration) and 7.2 (authentication) name the checks. The library does
them; what it leaves to us is the exact origin, whose credential it is (`user_handle`), that a challenge counts once and
for five minutes, that the key is of a kind that was asked for, and the signature counter.

fido2 and not the better known webauthn, which brings pyOpenSSL: Twisted loads that wherever it is installed, into every
front worker (10 MiB), and with it pyasn1 and more that reads strangers' bytes. fido2 needs only cryptography.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from sqlalchemy import Connection

from proxy import logs
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.factors import Begun, message
from proxy.store import audit, factors
from proxy.store.factors import FactorRow, NewFactor
from proxy.store.threads import StoreThreads

WITHIN = 300.0
"""Seconds that a challenge may be answered."""
CHALLENGE_BYTES = 32
HANDLE_BYTES = 24
MAX_ANSWER = 16_384
"""Characters of a browser's answer; one without attestation is a tenth of that."""

NO_ANSWER = message("Your browser sent no passkey. Try again, or choose another way.")
TOO_LATE = message("That took too long. Try again.")
WRONG = message("That passkey was not accepted. Try again, or choose another way.")
UNKNOWN = message("That passkey does not belong to this account. Choose another one, or another way.")
KNOWN = message("That passkey is registered for this account already.")
COPIED = message(
    "That passkey was not accepted: there seems to be a copy of it. Sign in another way, remove it, and tell your "
    "administrator."
)

_log = logs.get("portal")


def usable(url: str) -> bool:
    """Whether browsers do WebAuthn at this `portal.url`: https (or this very machine), and a name, not an address."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return parts.scheme == "https" or host == "localhost" or host.endswith(".localhost")
    return False


def user_handle(account: Account) -> bytes:
    """What an authenticator keeps the account under: it leads back to the account, names nobody, and is another one
    should its id come again in another store."""
    made = hashlib.sha256(f"{account.id} {account.created!r}".encode()).digest()
    return account.id.to_bytes(8, "big") + made[: HANDLE_BYTES - 8]


def account_named(answer: Mapping[str, str]) -> int | None:
    """The id of the account that a passkey says it is for, where nobody said a name. `finish` checks it."""
    credential = _credential(answer)
    try:
        handle = websafe_decode(credential["response"]["userHandle"]) if credential is not None else b""
    except (ValueError, LookupError, TypeError):
        return None
    account_id = int.from_bytes(handle[:8], "big")
    return account_id if len(handle) == HANDLE_BYTES and account_id < 1 << 63 else None


class Passkey:
    """Of a row, `public` has `credential` (id and public key, as WebAuthn encodes them) and `transports`; its counter
    is the signature counter."""

    kind = FactorKind.PASSKEY

    def __init__(
        self,
        store: StoreThreads,
        node: str,
        url: str,
        name: str,
        clock: Callable[[], float],
        token: Callable[[int], bytes],
    ) -> None:
        parts = urlsplit(url)
        usual = {"https": 443, "http": 80}.get(parts.scheme)
        port = "" if parts.port in (None, usual) else f":{parts.port}"
        origin = f"{parts.scheme}://{parts.hostname}{port}"
        self._server = Fido2Server(
            PublicKeyCredentialRpEntity(name=name, id=parts.hostname),
            attestation=AttestationConveyancePreference.NONE,
            verify_origin=lambda said: said == origin,
        )
        self._algorithms = {asked.alg for asked in self._server.allowed_algorithms}
        self._store = store
        self._node = node
        self._clock = clock
        self._token = token

    async def begin_registration(self, account: Account, name: str) -> Begun:
        """`page` has `options`: JSON for PublicKeyCredential.parseCreationOptionsFromJSON."""
        known = await self._store.read(factors.of_account, account.id, FactorKind.PASSKEY)
        challenge = self._token(CHALLENGE_BYTES)
        options, _ = self._server.register_begin(
            PublicKeyCredentialUserEntity(
                id=user_handle(account), name=account.address, display_name=account.display_name or account.address
            ),
            [_descriptor(row) for row in known],
            ResidentKeyRequirement.PREFERRED,
            UserVerificationRequirement.REQUIRED,
            challenge=challenge,
        )
        return _begun(dict(options.public_key), challenge, self._clock() + WITHIN, name=name)

    async def resume_registration(self, account: Account, begun_notes: Mapping[str, Any]) -> Begun:
        return await self.begin_registration(account, begun_notes["name"])  # a challenge counts once

    async def finish_registration(
        self, account: Account, begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> NewFactor | str:
        credential = _credential(answer)
        if credential is None:
            return NO_ANSWER
        if self._clock() > begun_notes["until"]:
            return TOO_LATE
        try:
            made = self._server.register_complete(_state(begun_notes), credential)
            held = made.credential_data
            if held is None or held.public_key.get(3) not in self._algorithms:
                return WRONG
        except Exception as error:
            return _refused(account, error)
        known = await self._store.read(factors.of_account, account.id, FactorKind.PASSKEY)
        if any(_held(row).credential_id == held.credential_id for row in known):
            return KNOWN
        public = {"credential": websafe_encode(held), "transports": _transports(credential)}
        return NewFactor(FactorKind.PASSKEY, begun_notes["name"], public=public, counter=made.counter)

    async def begin(self, account: Account, rows: Sequence[FactorRow], session_hash: bytes) -> Begun:
        """`page` has `options`: JSON for PublicKeyCredential.parseRequestOptionsFromJSON."""
        return self.ask(self._token(CHALLENGE_BYTES), rows, self._clock() + WITHIN)

    def ask(self, challenge: bytes, rows: Sequence[FactorRow], until: float) -> Begun:
        """Ask for one of these passkeys, or, of none, for any that the browser has for this site."""
        options, _ = self._server.authenticate_begin(
            [_descriptor(row) for row in rows] or None, UserVerificationRequirement.REQUIRED, challenge
        )
        return _begun(dict(options.public_key), challenge, until)

    async def finish(
        self, account: Account, rows: Sequence[FactorRow], begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> FactorRow | str:
        credential = _credential(answer)
        if credential is None:
            return NO_ANSWER
        now = self._clock()
        if now > begun_notes["until"]:
            return TOO_LATE
        try:
            said = AuthenticationResponse.from_dict(credential)
            row = next((row for row in rows if _held(row).credential_id == said.raw_id), None)
            if row is None or (said.response.user_handle or user_handle(account)) != user_handle(account):
                return UNKNOWN
            self._server.authenticate_complete(_state(begun_notes), [_held(row)], said)
            signed = said.response.authenticator_data.counter
        except Exception as error:
            return _refused(account, error)
        return await self._store.write(self._count, account, row, signed, now)

    def _count(self, c: Connection, account: Account, row: FactorRow, signed: int, now: float) -> FactorRow | str:
        """Section 7.2 step 21. Passkeys that are synced between devices do not count: theirs stays at 0."""
        current = factors.by_id(c, account.id, row.id)
        if current is None:
            return UNKNOWN
        if (signed or current.counter) and not factors.advance_counter(c, row.id, signed):
            event = AuditEvent(
                now,
                Event.PASSKEY_COUNTER_WENT_BACK,
                f"person:{account.address}",
                account=account.address,
                account_id=account.id,
                detail=f"{row.name}: {signed} after {current.counter}; there may be a copy of it",
            )
            audit.append(c, self._node, [event])
            return COPIED
        return row


_TRANSPORTS = tuple(transport.value for transport in AuthenticatorTransport)


def _held(row: FactorRow) -> AttestedCredentialData:
    return AttestedCredentialData(websafe_decode(row.public["credential"]))


def _transports(credential: Mapping[str, Any]) -> list[str]:
    """How the authenticator can be reached, so that a browser asks for the right one first."""
    said = credential["response"].get("transports")
    return [name for name in _TRANSPORTS if isinstance(said, list) and name in said]


def _descriptor(row: FactorRow) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(
        type=PublicKeyCredentialType.PUBLIC_KEY,
        id=_held(row).credential_id,
        transports=[AuthenticatorTransport(name) for name in row.public["transports"]],
    )


def _begun(options: Mapping[str, Any], challenge: bytes, until: float, **more: str) -> Begun:
    page = {"options": json.dumps({**options, "timeout": int(WITHIN * 1000)})}
    return Begun(page, {"challenge": websafe_encode(challenge), "until": until, **more})


def _state(notes: Mapping[str, Any]) -> dict[str, Any]:
    """What the library checks an answer against."""
    return {"challenge": notes["challenge"], "user_verification": UserVerificationRequirement.REQUIRED}


def _credential(answer: Mapping[str, str]) -> dict[str, Any] | None:
    """The browser's JSON, which is an object with a `response` object in it."""
    text = answer.get("credential", "")
    if not text or len(text) > MAX_ANSWER:
        return None
    try:
        credential = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(credential, dict) or not isinstance(credential.get("response"), dict):
        return None
    return credential


def _refused(account: Account, error: Exception) -> str:
    """Whatever a stranger's bytes make the library raise. Operators see here that pages have another origin than
    portal.url."""
    _log.info("passkey refused", user=account.address, reason=error)
    return WRONG
