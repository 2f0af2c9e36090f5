"""Where logs can be sent: one file per outside system, loaded when the first log goes there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from app.domain.standard_payload import Probe
from app.integrations.outbound import Outbound, Reply

# The callbacks that are spoken here; others are stored, and reported as unsupported.
SUPPORTED = frozenset({"gcs_bucket", "generic_api", "langfuse"})


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What the destination itself said of a log, or the short reason why it got none."""

    ok: bool
    http_status: int | None
    milliseconds: int
    reason: str | None

    @classmethod
    def of(cls, reply: Reply, outbound: Outbound, fault: str | None = None) -> "DeliveryResult":
        """The result that a last reply makes; `fault` is what its content says against it."""
        reason = reply.fault or fault
        return cls(reason is None, reply.status, outbound.milliseconds, reason)

    @classmethod
    def failed(cls, reason: str, outbound: Outbound, reply: Reply | None = None) -> "DeliveryResult":
        """The result where nothing could be sent, or where a reply needs words of its own."""
        status = None if reply is None else reply.status
        return cls(ok=False, http_status=status, milliseconds=outbound.milliseconds, reason=reason)


class Destination(Protocol):
    """An outside system that takes logs."""

    def send_test(self, variables: Mapping[str, str], probe: Probe, outbound: Outbound) -> DeliveryResult:
        """Send one test log by these (opened) variables, through `outbound` alone; never raises.

        A repeat sends another log.
        """


class Destinations:
    """Every destination by its callback name; `gcs_endpoint` is where Google's storage API is spoken."""

    def __init__(self, *, gcs_endpoint: str) -> None:
        self._gcs_endpoint = gcs_endpoint

    def named(self, name: str) -> Destination | None:
        """The destination of a callback, None where it is not spoken here."""
        match name:
            case "gcs_bucket":
                from app.integrations.gcs_bucket import GcsBucket  # noqa: PLC0415

                return GcsBucket(self._gcs_endpoint)
            case "generic_api":
                from app.integrations.generic_api import GenericApi  # noqa: PLC0415

                return GenericApi()
            case "langfuse":
                from app.integrations.langfuse import Langfuse  # noqa: PLC0415

                return Langfuse()
        return None
