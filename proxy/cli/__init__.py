"""The sidegate command. The home of click and rich.

main.py     the command tree, loaded by name so that `--version` costs nothing
base.py     what every command has: --config, errors and exit statuses
client.py   the API over admin.sock
show.py     tables for people, JSON for scripts      ask.py  questions before bulk changes
accounts.py  mfa.py  passwords.py  sessions.py  insight.py    commands that ask the core
host.py  settings.py  dns.py  completion.py                   commands about this host
doctor/     the checks of `sidegate doctor`
"""
