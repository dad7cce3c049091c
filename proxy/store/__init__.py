"""What we remember: schema, queries by noun, hashing, migrations. The home of SQLAlchemy, Alembic and argon2-cffi.

engine.py    Store: held connections, one transaction per `reading()` / `writing()`
threads.py   StoreThreads: the same for an event loop
accounts.py  app_passwords.py  history.py  audit.py    functions that take an open Connection first; and the portal's:
people.py  factors.py  codes.py  devices.py  portal_sessions.py  sign_ins.py  throttles.py  tries.py  challenges.py
links.py  notices.py  pruning.py
"""
