"""Canaille, an OpenID provider, as a process of its own: python -m tests.peers.canaille_server SETTINGS.json

Everything is in memory. SETTINGS: {port, key (a private JWK), client: {id, secret, redirect_uri, back}, people: [{name,
email, password, otp (ASCII in base32)}]}.
"""

from __future__ import annotations

import base64
import datetime
import json
import logging
import sys
import uuid
from pathlib import Path

import canaille
from canaille.app import models
from canaille.backends import Backend
from werkzeug.serving import run_simple


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    app = canaille.create_app(
        {
            "SECRET_KEY": uuid.uuid4().hex,
            "SERVER_NAME": f"127.0.0.1:{settings['port']}",
            "PREFERRED_URL_SCHEME": "http",
            "CACHE_TYPE": "SimpleCache",
            "SESSION_COOKIE_SECURE": False,
            "CANAILLE": {
                "DATABASE": "memory",
                "AUTHENTICATION_FACTORS": ["password", "otp"],
                "ENABLE_INTRUDER_LOCKOUT": False,
            },
            "CANAILLE_OIDC": {"ACTIVE_JWKS": [settings["key"]], "TRUSTED_DOMAINS": ["127.0.0.1"]},
        },
        env_file=None,
    )
    now = datetime.datetime.now(datetime.UTC)
    with app.app_context():
        for one in settings["people"]:
            person = models.User(
                user_name=one["name"],
                formatted_name=one["name"],
                family_name=one["name"],
                emails=[one["email"]],
                password=one["password"],
                secret_token=base64.b32decode(one["otp"]).decode("ascii"),
                last_otp_login=now,
            )
            Backend.instance.save(person)
        ours = settings["client"]
        client = models.Client(
            client_id=ours["id"],
            client_secret=ours["secret"],
            client_name="sidegate",
            client_id_issued_at=now,
            redirect_uris=[ours["redirect_uri"]],
            post_logout_redirect_uris=[ours["back"]],
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "email", "profile"],
            token_endpoint_auth_method="client_secret_basic",
            id_token_signed_response_alg="RS256",
            client_uri="http://127.0.0.1",
        )
        Backend.instance.save(client)
        client.audience = [client]
        Backend.instance.save(client)
    logging.getLogger("werkzeug").setLevel(logging.INFO)
    run_simple("127.0.0.1", settings["port"], app, threaded=True)


if __name__ == "__main__":
    main()
