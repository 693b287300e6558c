"""Errors of other packages, in one line of ours."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, at most 160 characters; its type's name where it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:160]
