"""The errors of the whole system. They know no transport: `server/error_table.py` maps them, once.

Every message says what was wrong; `hint` says what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class BeyondError(Exception):
    """Base of every error that is meant to be read by a caller.

    Attributes:
        code: stable snake_case name of the error's class, part of the public API.
        message: one line, names what was wrong.
        hint: one line, says what to do; None if the message already does.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Child processes send errors to their parent by pickle.
        return (type(self), (self.message, self.hint), self.__dict__)


class ConfigError(BeyondError):
    """A flag, a configuration key or a file named by one cannot be used. Ends the start-up."""

    code = "config"


class ModelLoadError(BeyondError):
    """A model's file is missing, is no model, or cannot be served."""

    code = "model_load"


class InvalidRequestError(BeyondError):
    code = "invalid_request"


class UnauthorizedError(BeyondError):
    code = "unauthorized"


class ModelNotFoundError(BeyondError):
    code = "model_not_found"


class PayloadTooLargeError(BeyondError):
    """Too many bytes, or too many pixels by the image's own header (before any is allocated)."""

    code = "payload_too_large"


class UnsupportedImageError(BeyondError):
    """The bytes are of no image format that is served."""

    code = "unsupported_image"


class ImageDecodeError(BeyondError):
    """The bytes claim a served format and cannot be decoded."""

    code = "image_decode"


class QueueFullError(BeyondError):
    """Refused at admission, before any CPU was spent.

    Attributes:
        retry_after_s: seconds until a place is likely free, whole and at least 1.
    """

    code = "queue_full"

    def __init__(self, message: str, hint: str | None = None, retry_after_s: int = 1) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class DeadlineExceededError(BeyondError):
    code = "deadline_exceeded"


class ShuttingDownError(BeyondError):
    code = "shutting_down"


class InstanceLostError(BeyondError):
    """The instance that ran the batch died with it; another attempt may succeed."""

    code = "instance_lost"


class EngineError(BeyondError):
    """The engine refused or failed a batch."""

    code = "engine"
