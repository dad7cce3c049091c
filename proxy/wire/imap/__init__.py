"""IMAP4rev1 (RFC 3501) up to a login, on both ends."""
