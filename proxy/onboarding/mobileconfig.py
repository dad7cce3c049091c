"""Apple's configuration profile for Mail, and for directory accounts in Contacts (device-management `mdm/profiles`).

A profile holds the app password in the clear: it is handed out by a one-time link and not kept.
"""

from __future__ import annotations

import plistlib
import uuid
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7

from proxy.config.settings import Config, FrontTls
from proxy.domain.model import Protocol
from proxy.onboarding.handover import Handover
from proxy.onboarding.servers import DirectoryLogin, Server, directory_login, mail_servers

CONTENT_TYPE = "application/x-apple-aspen-config"
LDAPS = 636
"""The directory payload has no port."""


def profile(config: Config, handover: Handover, title: str, description: str) -> bytes | None:
    """The profile, unsigned. None if nothing in it would be of use to an Apple device.

    Its identifier is the account's, so that a new one takes the place of the one before; the UUIDs are the app
    password's. `title` and `description` are shown before it is installed.
    """
    payloads = []
    mail = mail_servers(config)
    if mail is not None and handover.for_mail:
        payloads.append(_mail(handover, mail))
    directory = directory_login(config, handover.address)
    if directory is not None and Protocol.LDAP in handover.scopes and _is_ldaps(directory.server):
        payloads.append(_directory(handover, directory))
    if not payloads:
        return None
    outer = {
        "PayloadType": "Configuration",
        "PayloadDisplayName": title,
        "PayloadDescription": description,
        "PayloadOrganization": config.portal.name,
        "PayloadRemovalDisallowed": False,
        "PayloadContent": [_identified(config, handover, payload) for payload in payloads],
    }
    return plistlib.dumps(_identified(config, handover, outer), sort_keys=False)


def _is_ldaps(server: Server) -> bool:
    return server.tls is FrontTls.IMPLICIT and server.port == LDAPS


def _mail(handover: Handover, mail: tuple[Server, Server]) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "PayloadType": "com.apple.mail.managed",
        "PayloadDisplayName": handover.address,
        "EmailAccountType": "EmailTypeIMAP",
        "EmailAccountDescription": handover.address,
        "EmailAccountName": handover.sender or handover.address,
        "EmailAddress": handover.address,
    }
    for way, server in zip(("Incoming", "Outgoing"), mail, strict=True):
        payload |= {
            f"{way}MailServerAuthentication": "EmailAuthPassword",
            f"{way}MailServerHostName": server.host,
            f"{way}MailServerPortNumber": server.port,
            f"{way}MailServerUseSSL": True,  # either kind of TLS: Mail sees by the port's greeting which
            f"{way}MailServerUsername": handover.address,
            f"{way}Password": handover.revealed(),
        }
    return payload


def _directory(handover: Handover, directory: DirectoryLogin) -> dict[str, Any]:
    return {
        "PayloadType": "com.apple.ldap.account",
        "PayloadDisplayName": directory.server.host,
        "LDAPAccountDescription": directory.server.host,
        "LDAPAccountHostName": directory.server.host,
        "LDAPAccountUseSSL": True,
        "LDAPAccountUserName": directory.dn,
        "LDAPAccountPassword": handover.revealed(),
        "LDAPSearchSettings": [
            {
                "LDAPSearchSettingDescription": directory.server.host,
                "LDAPSearchSettingSearchBase": directory.base,
                "LDAPSearchSettingScope": "LDAPSearchSettingScopeSubtree",
            }
        ],
    }


def _identified(config: Config, handover: Handover, payload: dict[str, Any]) -> dict[str, Any]:
    """A payload with what every one has: version, identifier, UUID."""
    host = urlsplit(config.portal.url).hostname or ""
    account = uuid.uuid5(uuid.NAMESPACE_URL, f"mailto:{handover.address}")
    kind = payload["PayloadType"].rpartition("com.apple.")[2].lower()
    return payload | {
        "PayloadVersion": 1,
        "PayloadIdentifier": ".".join([*reversed(host.split(".")), str(account), kind]),
        "PayloadUUID": str(uuid.uuid5(account, f"{config.portal.url} {handover.id} {kind}")).upper(),
    }


# ---- signing ------------------------------------------------------------------------------------


class CannotSign(Exception):
    """This key and certificate make no signature; one sentence why."""


def signed(profile: bytes, chain: bytes, key: bytes) -> bytes:
    """The profile inside a CMS signature (DER, attached): the device then shows who made it.

    `chain`: PEM, leaf first; `key`: PEM, RSA or EC. Raises CannotSign.
    """
    try:
        leaf, *above = x509.load_pem_x509_certificates(chain)
        private = load_pem_private_key(key, None)
    except (TypeError, ValueError) as error:  # TypeError: the key is encrypted
        raise CannotSign("certificate and key must be PEM, the key without a passphrase") from error
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise CannotSign("only RSA and EC keys sign profiles")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(profile).add_signer(leaf, private, SHA256())
    for certificate in above:
        builder = builder.add_certificate(certificate)
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoAttributes])
