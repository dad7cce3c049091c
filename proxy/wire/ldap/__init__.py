"""LDAP: RFC 4511, 4513 (simple Bind, StartTLS), 4370 (proxied authorization), 4532 (Who am I?)."""
