"""IMAP, against nginx's mail proxy and Dovecot's."""
