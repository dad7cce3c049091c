"""What a browser calls itself, in a person's words: "Firefox (Windows)". A guess, to tell devices apart and no more."""

from __future__ import annotations

_BROWSERS = (
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
"""The first that occurs counts: most claim to be those below them too."""
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)
MAX_NAME = 64


def agent_name(agent: str) -> str:
    """A short name for a User-Agent; its first word where it is none of the known ones, and "?" for none."""
    browser = next((name for sign, name in _BROWSERS if sign in agent), "")
    system = system_name(agent)
    if browser and system:
        return f"{browser} ({system})"
    return (browser or system or agent.partition(" ")[0] or "?")[:MAX_NAME]


def system_name(agent: str) -> str:
    """What it runs on; empty where that is none of the known ones."""
    return next((name for sign, name in _SYSTEMS if sign in agent), "")
