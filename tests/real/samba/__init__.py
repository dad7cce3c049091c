"""Active Directory as it is behind an LDAP front: Samba's domain controller, asked directly."""
