"""Log lines: on standard error, so that standard output stays the command's answer."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum


class LogFormat(StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


def configure_logging(*, verbose: bool, log_format: LogFormat = LogFormat.TEXT) -> None:
    """Send log lines of ours and of libraries to standard error.

    Text is for a person who watches: warnings and above. JSON is for a collector, one object per line: ours from
    ``info`` on, a line per window; libraries' warnings. ``verbose`` adds everything of both.
    """
    if log_format is LogFormat.JSON:
        _configure_json(logging.DEBUG if verbose else logging.INFO, logging.DEBUG if verbose else logging.WARNING)
    else:
        _configure_text(logging.DEBUG if verbose else logging.WARNING)


def _configure_text(level: int) -> None:
    import structlog

    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _configure_json(level: int, libraries_level: int) -> None:
    """Write ours through the standard library too, so that one handler orders and formats all lines."""
    import structlog

    both: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=both,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=False),
            ],
        )
    )
    logging.basicConfig(level=libraries_level, handlers=[handler])
    for package in ("driftline", "producers", "consumers", "batch", "grafana"):
        logging.getLogger(package).setLevel(level)
    structlog.configure(
        processors=[*both, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
