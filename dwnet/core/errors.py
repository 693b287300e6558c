"""The base of all errors that this library raises about its input, and errors of other packages in one line."""


class DWNetError(ValueError):
    """Input that cannot be used. The message names the thing, what was found and what is allowed."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 160 characters; the name of its type if the message is empty."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:160]
