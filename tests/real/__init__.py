"""Against the real Dovecot and Postfix."""
