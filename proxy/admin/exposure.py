"""What a compromised front worker could reach: said by `check`, `doctor` and docs/backends (DESIGN section 2)."""

from __future__ import annotations

from proxy.config.settings import Config, Strategy

_COULD = {
    Strategy.MASTER_USER: "open every mailbox there: at each login it holds the master user's password",
    Strategy.XCLIENT: "send as every account there: that server believes whichever login is named from its address",
    Strategy.PROXIED_AUTHORIZATION: (
        "speak for every account that the service there may speak for: at each login it holds the service's password"
    ),
    Strategy.SERVICE_IDENTITY: (
        "do all that the service there may do, whatever bases and attributes say: at each login it holds its password"
    ),
    Strategy.STATIC: "use all that the one login opens, at any time: at each login it holds the password",
}


def exposures(config: Config) -> list[str]:
    """One sentence for each backend in use whose login strategy is not limited to the account that logs in."""
    used = {front.backend for front in config.fronts}
    return [
        f"backend {name}: with {backend.login.strategy} a compromised front worker could "
        f"{_COULD[backend.login.strategy]}"
        for name, backend in config.backends.items()
        if name in used and backend.login.strategy in _COULD
    ]
