"""Validation errors of pydantic in one line."""

from pydantic import ValidationError


def first_problem(error: ValidationError) -> str:
    """The first problem that pydantic found, as ``place: message, found value``."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    # A missing entry has no value of its own: pydantic gives the object that lacks it.
    found = "" if problem["type"] == "missing" else f", found {problem['input']!r}"[:80]
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}{found}" if place else f"{message}{found}"
