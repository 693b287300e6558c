"""The base class of errors about input, and short messages for errors of other packages."""


class DWNetError(ValueError):
    """Invalid input. The message names the input, the value found and the values allowed."""


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, at most 160 characters; the type's name if the message is empty."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:160]
