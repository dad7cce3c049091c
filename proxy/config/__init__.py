"""YAML -> typed settings; every error as file:line:column, all at once."""
