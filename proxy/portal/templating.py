"""Jinja2, one environment per language: everything that is put into a page is escaped, and a missing name is an error.

In templates `_("…")` and `ngettext("…", "…", n)` take ids from our code, which may hold HTML: values are escaped, ids
are not.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from proxy.portal.texts import Texts

FOLDER = Path(__file__).parent / "templates"


def template(name: str, texts: Texts) -> Template:
    """A template that speaks this language."""
    return environment(texts).get_template(name)


@cache
def environment(texts: Texts) -> Environment:
    """Where the templates of a language are compiled, each once."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_callables(texts.translate, texts.form, newstyle=True)  # type: ignore[attr-defined]
    return made
