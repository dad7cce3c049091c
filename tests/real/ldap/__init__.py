"""The LDAP front in front of a real slapd, with OpenLDAP's own tools and a client that can say what they cannot."""
