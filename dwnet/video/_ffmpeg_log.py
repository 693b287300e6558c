"""FFmpeg's error messages. FFmpeg reports much damage only in its log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dwnet.video._types import one_line


@contextmanager
def ffmpeg_errors(found: list[str]) -> Iterator[None]:
    """Appends the error messages that FFmpeg logs in this thread inside the context to `found`.

    The context must not contain a `yield` of a generator, because PyAV keeps the captures of a thread on a stack.
    """
    import av.logging

    if (av.logging.get_level() or av.logging.PANIC) < av.logging.ERROR:
        av.logging.set_level(av.logging.ERROR)
        # PyAV passes messages from outside this context to Python's logging. Without a handler, Python prints them.
        logging.getLogger("libav").addHandler(logging.NullHandler())
    # PyAV would leave out a message that equals the last one, for example of another pass over the same file.
    av.logging.set_skip_repeated(False)
    with av.logging.Capture() as messages:
        try:
            yield
        finally:
            for level, source, text in messages:
                if level <= av.logging.ERROR and text.strip():
                    found.append(f"{source}: {one_line(text)}" if source else one_line(text))
