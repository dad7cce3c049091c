"""LDAP over TLS, against slapd's back-ldap, in front of the same slapd."""
