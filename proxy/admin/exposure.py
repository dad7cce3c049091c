"""What a compromised front worker could reach: said by `check`, `doctor` and docs/backends (DESIGN section 2)."""

from __future__ import annotations

from proxy.config.settings import Config, Strategy

_REACH = {
    Strategy.MASTER_USER: "every mailbox there: at each login the front worker holds the master user's password",
    Strategy.XCLIENT: "sending as every account: the server believes whatever login the front worker's address names",
    Strategy.STATIC: "all that the one login opens, at any time: at each login the front worker holds its password",
}


def exposures(config: Config) -> list[str]:
    """One sentence for each backend in use whose login strategy is not limited to the account that logs in."""
    used = {front.backend for front in config.fronts}
    return [
        f"backend {name}: with {backend.login.strategy} a compromised front worker could reach "
        f"{_REACH[backend.login.strategy]}"
        for name, backend in config.backends.items()
        if name in used and backend.login.strategy in _REACH
    ]
