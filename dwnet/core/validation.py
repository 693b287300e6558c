"""One-line messages for pydantic's validation errors."""

from pydantic import ValidationError


def first_problem(error: ValidationError) -> str:
    """Returns the first problem of a validation error, as ``place: message, found value``."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    # For a missing entry, pydantic's input is the object without the entry, which is not a useful value.
    found = "" if problem["type"] == "missing" else f", found {problem['input']!r}"[:80]
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}{found}" if place else f"{message}{found}"
