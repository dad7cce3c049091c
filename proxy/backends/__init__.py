"""What we present to the server behind: one login strategy a file, and the keys they sign with. Runs in the core only.

strategy.py  which strategy a backend names, and what that backend calls an account
keys.py      pepper and signing key: made by `sidegate init`, loaded by the core
"""
