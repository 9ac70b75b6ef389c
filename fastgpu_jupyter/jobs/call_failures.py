"""What the future of a call raises beside the exceptions of the call itself."""

from __future__ import annotations

import pickle
from concurrent.futures import BrokenExecutor, CancelledError

from ..errors import Message
from ..messages import render


class _Sentence(Exception):
    """An exception whose text is a sentence, in the language of the process that shows it."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        """Return the sentence."""
        return render(self.message)


class UnpicklableCall(_Sentence, pickle.PicklingError):
    """The function or an argument cannot be sent to another process; nothing was submitted."""


class DamagedCall(_Sentence, pickle.UnpicklingError):
    """The file of a call is not there or has another content; it was not opened."""


class UnreadableCall(_Sentence, pickle.UnpicklingError):
    """The function or its arguments cannot be made again in the process of the job."""


class UnpicklableResult(_Sentence, pickle.PicklingError):
    """The call has ended, and its result cannot be sent to another process."""


class UnreadableResult(_Sentence, pickle.UnpicklingError):
    """The result is kept, and cannot be read in this process."""


class RemoteError(_Sentence, RuntimeError):
    """The call raised an exception that cannot be sent to another process or not be read in this one."""


class WorkerDied(_Sentence, BrokenExecutor):
    """The process of the call ended before the call did; other calls of the executor go on."""


class CallTimeout(_Sentence, TimeoutError):
    """The call was ended because it took longer than its time limit."""


class CallCancelled(_Sentence, CancelledError):
    """The job of a running call was cancelled."""


class RemoteTraceback(Exception):
    """The traceback of an exception in the process that raised it; the cause of the exception here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        """Return the traceback between quotes, as :mod:`multiprocessing` shows it."""
        return f'\n"""\n{self.text}"""'
