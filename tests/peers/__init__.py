"""Real servers, started by the tests themselves in a temp folder on free loopback ports."""
