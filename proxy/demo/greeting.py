"""What the demo prints for a person, and writes for a program."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.demo.directory import PEOPLE, person
from proxy.demo.layout import Layout
from proxy.demo.ports import HOST, PORTAL_HOST, Ports


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """A person of the demo; the account password is there to be refused."""

    address: str
    name: str
    password: str
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Minted:
    """An app password of the demo."""

    account: str
    name: str
    secret: str


def command() -> str:
    """How to call sidegate from any folder and shell."""
    script = Path(sys.executable).with_name("sidegate")
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m proxy"


def facts(layout: Layout, ports: Ports, accounts: Sequence[DemoAccount], app_password: Minted) -> dict[str, Any]:
    """The ready file of DESIGN section 7."""
    return {
        "imap": {"tls": ports.imap_tls, "starttls": ports.imap_starttls},
        "smtp": {"tls": ports.smtp_tls, "starttls": ports.smtp_starttls},
        "ldap": {"tls": ports.ldap_tls, "starttls": ports.ldap_starttls},
        "portal": portal(ports),
        "ca": str(layout.certificates.ca),
        "config": str(layout.config),
        "accounts": [{"account": it.address, "password": it.password, "admin": it.admin} for it in accounts],
        "app_password": {"account": app_password.account, "name": app_password.name, "secret": app_password.secret},
    }


def portal(ports: Ports) -> str:
    return f"http://{PORTAL_HOST}:{ports.portal}/"


def greeting(
    layout: Layout, ports: Ports, accounts: Sequence[DemoAccount], curl: Minted, phone: Minted, *, kept: bool
) -> str:
    """Ports, accounts, app password, and commands that work as they stand, each in any terminal."""
    ca = shlex.quote(str(layout.certificates.ca))
    sidegate = f"{command()} -c {shlex.quote(str(layout.config))}"
    me = accounts[0]
    login = f"--cacert {ca} -u {curl.account}:{curl.secret}"
    refused = f"--cacert {ca} -u {me.address}:{me.password}"
    # libldap takes "localhost" for the machine's own name, which the certificate does not have.
    ldaps = f"-H ldaps://{HOST}:{ports.ldap_tls} -x -D {person(me.address)}"
    trust = f"LDAPTLS_CACERT={ca}"
    imaps, smtps = f"imaps://localhost:{ports.imap_tls}", f"smtps://localhost:{ports.smtp_tls}"
    people = "\n".join(
        f"  {it.address:<20} account password {it.password:<24}{' (administers sidegate)' if it.admin else ''}".rstrip()
        for it in accounts
    )
    mail = f"From: {me.address}\\r\\nTo: {me.address}\\r\\nSubject: Sent through sidegate\\r\\n\\r\\nIt works.\\r\\n"
    envelope = f"--mail-from {me.address} --mail-rcpt {me.address}"
    idle = f"""\
{shlex.quote(sys.executable)} -c "
import imaplib, ssl, sys
tls = ssl.create_default_context(cafile=sys.argv[1])
mail = imaplib.IMAP4_SSL('localhost', {ports.imap_tls}, ssl_context=tls)
mail.login('{phone.account}', '{phone.secret}')
mail.select()
mail.send(b'a1 IDLE\\r\\n')
for line in iter(mail.readline, b''): print(line.decode().strip(), flush=True)
print('the connection is closed')
" {ca}"""
    return f"""
sidegate demo: everything runs on this machine, for you alone. Stop it with Ctrl-C.

  IMAP    localhost:{ports.imap_tls} (TLS)   localhost:{ports.imap_starttls} (STARTTLS)
  SMTP    localhost:{ports.smtp_tls} (TLS)   localhost:{ports.smtp_starttls} (STARTTLS)
  LDAP    {HOST}:{ports.ldap_tls} (TLS)   {HOST}:{ports.ldap_starttls} (STARTTLS)
  portal  {portal(ports)}
  CA      {layout.certificates.ca}
  config  {layout.config}
  log     {layout.log}

Accounts; an account password opens nothing here, a person signs in with it at the portal:
{people}
What they should know (a new sign-in, app password or sign-in method) comes as mail into these inboxes, from the portal.
Text messages and calls with codes are printed here.

App password "{curl.name}" of {curl.account}:
  {curl.secret}

Paste these into another terminal.

1. Read the inbox with the app password:

curl -s {login} '{imaps}/INBOX;MAILINDEX=[1-3]'

2. Send a mail, then read the newest one:

printf '{mail}' | curl -s {login} {smtps}/laptop {envelope} -T -

curl -s {login} '{imaps}/INBOX;MAILINDEX=*'

3. Try the same with the account password, and see what a mail program is told:

curl -sv {refused} {imaps}/INBOX 2>&1 | grep '^< '

curl -sv {refused} {smtps}/laptop {envelope} -T /dev/null 2>&1 | grep '^< 5'

4. The same app password, for a program that logs in at an LDAP directory; then the account password
   (the commands are Debian's ldap-utils):

{trust} ldapwhoami {ldaps} -w {curl.secret}

{trust} ldapsearch {ldaps} -w {curl.secret} -LLL -b {PEOPLE} '(mail=bob*)' cn telephoneNumber

{trust} ldapwhoami {ldaps} -w {me.password}

5. Let a "{phone.name}" wait for new mail, with an app password of its own ...

{idle}

... and take that app password away in a third terminal. The phone is cut off at once; step 1 still works:

{sidegate} sessions list

{sidegate} passwords revoke {phone.account} {phone.name}

6. Be the person: sign in at {portal(ports)} with the account password of {me.address}, create an app
   password there, set up a second step on the way, and put it into step 1. Then want a second step of everybody:

{sidegate} mfa enable --all --yes

7. Look behind the scenes:

{sidegate} why {me.address}

{sidegate} audit --account {me.address}

{sidegate} --help

{"Everything is kept in " + str(layout.config.parent) if kept else "Everything is gone when the demo ends"}.
"""
