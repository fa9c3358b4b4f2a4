"""Structured log lines: a constant event name with fields beside it, one format for our lines and everybody else's."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from typing import TYPE_CHECKING, cast

from penstock_chassis.absent import absent
from penstock_chassis.tracing import CURRENT

# With rich, which the command line brings, come pygments and 5 MB for tracebacks that we never print.
with absent("rich"):
    import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

    from penstock_chassis.settings import ProcessSettings


def get(name: str) -> FilteringBoundLogger:
    """Return the logger of one module; `name` is shown as `module`."""
    return cast("FilteringBoundLogger", structlog.get_logger(module=name))


def where(error: BaseException) -> list[str]:
    """Return the last three places of a traceback, without messages or locals: those might quote a prompt or a key."""
    return [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-3:]]


class _Lines(structlog.PrintLogger):
    """Prints lines. One that nobody takes, for the reader is gone or the disk is full, is lost: no work ends by it."""

    def msg(self, message: str) -> None:
        """Print one line, if it can be."""
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def configure(settings: ProcessSettings) -> None:
    """Send structlog's and the standard library's lines to stderr in one format."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _naming(settings.name),
        _with_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def _naming(process: str) -> Processor:
    """Add which process says it. Not by a context variable: a thread of its own begins without any."""

    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return name


def _with_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the trace that the line belongs to, if it belongs to one."""
    context = CURRENT.get()
    if context is not None:
        event["trace_id"], event["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return event
