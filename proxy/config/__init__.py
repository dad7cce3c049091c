"""The configuration file: YAML -> typed, frozen settings; every mistake as file:line:column, all at once."""

from proxy.config.errors import ConfigError, ConfigErrors
from proxy.config.loading import load
from proxy.config.settings import Config
from proxy.config.showing import example, show

__all__ = ["Config", "ConfigError", "ConfigErrors", "example", "load", "show"]
