"""Objects that nobody changes, made by the dozen for every login."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """A dataclass with slots that the type checker takes for a frozen one.

    `frozen=True` has Python hold it as well, which sets each field through object.__setattr__: four times the price of
    making one, and a tenth of what a login costs the core.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
