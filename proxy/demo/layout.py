"""The folder of a demo: certificates, secrets, configuration."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from proxy.demo import directory as tree
from proxy.demo.certificates import Certificates, make_certificates
from proxy.demo.ports import HOST, PORTAL_HOST, Ports

DOMAIN = "example.org"
MASTER_USER = "sidegate"

CONFIG = """\
## The configuration of this demo. `sidegate config example` explains every option.
store: {store}
state_dir: {state}
run_dir: {run}
workers: 2
hostname: localhost
tls: {{certificate: {certificate}, key: {key}}}
portal:
  url: "{portal}"
  listen: "{host}:{ports.portal}"
  mail: {{from: "sidegate@{domain}", server: "{host}:{smtp}", tls: none, user: {master}, password_file: {password}}}
  profile_signer: {{certificate: {certificate}, key: {key}}}
  ## Whoever can reach this demo may set up a first second factor without an enrolment code.
  trusted_networks: [127.0.0.0/8, "::1"]
default_domain: {domain}
factors:
  sms: {{webhook: {{url: "http://{host}:{phones}/", secret_file: {gateway_secret}}}, countries: [ES, US, GB, DE, FR]}}
  call: {{webhook: {{url: "http://{host}:{phones}/", secret_file: {gateway_secret}}}, countries: [ES, US, GB, DE, FR]}}
fronts:
  - {{protocol: imap, tls: implicit, backend: mailboxes,
     listen: "{host}:{ports.imap_tls}", public: "localhost:{ports.imap_tls}"}}
  - {{protocol: imap, tls: starttls, backend: mailboxes,
     listen: "{host}:{ports.imap_starttls}", public: "localhost:{ports.imap_starttls}"}}
  - {{protocol: smtp, tls: implicit, backend: submission,
     listen: "{host}:{ports.smtp_tls}", public: "localhost:{ports.smtp_tls}"}}
  - {{protocol: smtp, tls: starttls, backend: submission,
     listen: "{host}:{ports.smtp_starttls}", public: "localhost:{ports.smtp_starttls}"}}
  - {{protocol: ldap, tls: implicit, backend: directory,
     listen: "{host}:{ports.ldap_tls}", public: "localhost:{ports.ldap_tls}"}}
  - {{protocol: ldap, tls: starttls, backend: directory,
     listen: "{host}:{ports.ldap_starttls}", public: "localhost:{ports.ldap_starttls}"}}
backends:
  mailboxes:
    protocol: imap
    address: "{host}:{imap}"
    tls: none
    login: {{strategy: master_user, user: {master}, password_file: {password}}}
  submission:
    protocol: smtp
    address: "{host}:{smtp}"
    tls: none
    login: {{strategy: xclient}}
  directory:
    protocol: ldap
    address: "{host}:{ldap}"
    tls: none
    account_dn: "uid={{local}},{people}"
    login: {{strategy: proxied_authorization, bind_dn: "{service}", password_file: {service_password}}}
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are."""

    config: Path
    certificates: Certificates
    master_password: Path
    service_password: Path
    gateway_secret: Path
    log: Path
    run: Path


def lay_out(directory: Path, run: Path, ports: Ports, *, imap: int, smtp: int, ldap: int, phones: int) -> Layout:
    """Write everything `sidegate init` and `sidegate serve` need into `directory`; sockets go to `run`.

    imap, smtp, ldap: the backends' ports; phones: that of what sends text messages.
    """
    directory.chmod(0o700)
    for folder in (directory / "state", run):
        folder.mkdir(mode=0o700, exist_ok=True)
    layout = Layout(
        directory / "sidegate.yaml",
        make_certificates(directory),
        directory / "master-password",
        directory / "service-password",
        directory / "gateway-secret",
        directory / "sidegate.log",
        run,
    )
    for file in (layout.master_password, layout.service_password):
        _write_secret(file, secrets.token_urlsafe(24) + "\n")
    _write_secret(layout.gateway_secret, f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
    quoted = {  # a JSON string is a YAML string
        "store": f"sqlite:{directory}/sidegate.db",
        "state": str(directory / "state"),
        "run": str(run),
        "certificate": str(layout.certificates.certificate),
        "key": str(layout.certificates.key),
        "password": str(layout.master_password),
        "service_password": str(layout.service_password),
        "gateway_secret": str(layout.gateway_secret),
    }
    text = CONFIG.format(
        **{name: json.dumps(value) for name, value in quoted.items()},
        host=HOST,
        domain=DOMAIN,
        master=MASTER_USER,
        ports=ports,
        people=tree.PEOPLE,
        portal=f"http://{PORTAL_HOST}:{ports.portal}/",
        service=tree.SERVICE,
        imap=imap,
        smtp=smtp,
        ldap=ldap,
        phones=phones,
    )
    _write_secret(layout.config, text)
    return layout


def _write_secret(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
