"""Estimator parameters declared once, as dataclass fields, instead of in an `__init__`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

_Class = TypeVar("_Class", bound=type)


@dataclass_transform(eq_default=False)
def parameters(cls: _Class) -> _Class:
    """Add an `__init__` made from the annotated fields of an estimator class and its bases.

    :func:`dataclasses.dataclass` makes it: it assigns each parameter to an attribute and does
    nothing else, as scikit-learn requires. A class may redeclare an inherited field to change its
    default.

    The signature lists a model's own keywords before the general ones of its bases. It has no
    annotations, as in scikit-learn; type checkers read those of the fields.
    """
    cls = dataclass(eq=False, repr=False)(cls)
    order = [name for base in cls.__mro__ for name in _new_fields(base)]
    signature = inspect.signature(cls.__init__)
    first, *fields = signature.parameters.values()  # self
    fields.sort(key=lambda field: (field.kind, order.index(field.name)))
    plain = [field.replace(annotation=inspect.Parameter.empty) for field in [first, *fields]]
    cls.__init__.__signature__ = inspect.Signature(plain)
    return cls


def _new_fields(cls):
    """Return the names of the fields that a class declares first; no base has them."""
    fields, *inherited = (vars(base).get("__dataclass_fields__", {}) for base in cls.__mro__)
    return [name for name in fields if not any(name in base_fields for base_fields in inherited)]
