"""Where logs can be sent: one file per outside system, loaded when the first log goes there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.standard_payload import Log
from app.integrations.outbound import Outbound, Reply

# The callbacks that are spoken here; others are stored, and reported as unsupported.
SUPPORTED = frozenset({"datadog", "gcs_bucket", "generic_api", "langfuse", "langsmith", "otel", "s3", "s3_v2"})
_CREDENTIALS_REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What the destination itself said of the logs, or the short reason why it got none.

    `retryable` says that the same logs may be taken later, and `retry_after_seconds` how long the destination
    itself asked to be left alone.
    """

    ok: bool
    http_status: int | None
    milliseconds: int
    reason: str | None
    retryable: bool = False
    retry_after_seconds: float | None = None

    @classmethod
    def of(cls, reply: Reply, outbound: Outbound, fault: str | None = None) -> "DeliveryResult":
        """The result that a last reply makes; `fault` is what its content says against it."""
        reason = reply.fault or fault
        if reply.status in _CREDENTIALS_REFUSED and reply.reason is None:
            reason = f"the credentials were refused: {reason}"
        return cls.taken(outbound, reply) if reason is None else cls.failed(reason, outbound, reply)

    @classmethod
    def taken(cls, outbound: Outbound, reply: Reply | None = None) -> "DeliveryResult":
        """The result where the destination has the logs, or where nothing was to be sent."""
        status = None if reply is None else reply.status
        return cls(ok=True, http_status=status, milliseconds=outbound.milliseconds, reason=None)

    @classmethod
    def failed(cls, reason: str, outbound: Outbound, reply: Reply | None = None) -> "DeliveryResult":
        """The result where nothing could be sent, or where a reply needs words of its own."""
        retryable = reply is not None and reply.retryable
        return cls(
            ok=False,
            http_status=None if reply is None else reply.status,
            milliseconds=outbound.milliseconds,
            reason=reason,
            retryable=retryable,
            retry_after_seconds=reply.retry_after_seconds if reply is not None and retryable else None,
        )


class Destination(Protocol):
    """An outside system that takes logs."""

    def send(self, variables: Mapping[str, str], logs: Sequence[Log], outbound: Outbound) -> DeliveryResult:
        """Send these logs, at least one, by these (opened) variables, through `outbound` alone; never raises.

        They count as taken all or none: after a failure all may be sent again. A repeat carries the same
        identities, so that the destination tells it from new logs.
        """


class Destinations:
    """Every destination by its callback name; `gcs_endpoint` is where Google's storage API is spoken."""

    def __init__(self, *, gcs_endpoint: str) -> None:
        self._gcs_endpoint = gcs_endpoint

    def named(self, name: str) -> Destination | None:
        """The destination of a callback, None where it is not spoken here."""
        match name:
            case "datadog":
                from app.integrations.datadog import Datadog  # noqa: PLC0415

                return Datadog()
            case "gcs_bucket":
                from app.integrations.gcs_bucket import GcsBucket  # noqa: PLC0415

                return GcsBucket(self._gcs_endpoint)
            case "generic_api":
                from app.integrations.generic_api import GenericApi  # noqa: PLC0415

                return GenericApi()
            case "langfuse":
                from app.integrations.langfuse import Langfuse  # noqa: PLC0415

                return Langfuse()
            case "langsmith":
                from app.integrations.langsmith import Langsmith  # noqa: PLC0415

                return Langsmith()
            case "otel":
                from app.integrations.otel import Otel  # noqa: PLC0415

                return Otel()
            case "s3" | "s3_v2":
                from app.integrations.s3 import S3  # noqa: PLC0415

                return S3()
        return None
