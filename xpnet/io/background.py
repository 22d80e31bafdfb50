"""Work of one thread at a time, while the caller goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Calls functions one after the other, each in a thread; errors come out when it is waited for.

    >>> from xpnet.io.background import Background
    >>> found = []
    >>> background = Background()
    >>> background.start(lambda: found.append(1))
    >>> background.wait()
    >>> found
    [1]
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, function: Callable[[], object]) -> None:
        """Call it, when the one before has ended.

        Raises:
            BaseException: what the one before raised; the function is not called then.
        """
        self.wait()

        def call() -> None:
            try:
                function()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=call, name="xpnet writes")
        self._thread.start()

    def wait(self) -> None:
        """Until nothing is under way.

        Raises:
            BaseException: what the function raised, once.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
