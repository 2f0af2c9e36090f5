"""The gauges of the installation in Prometheus's form, looked up whenever somebody asks."""

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.services.jobs.gauges import DeliveryGauges, Gauges, Readings
from app.services.jobs.job_batches import Parked
from app.services.jobs.jobs import JobRecord


class Standing(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        found = self._gauges.read()
        yield from _stores(found)
        if found.jobs is not None:
            yield from _jobs(found.jobs, found.parked)
        if found.ledger is not None:
            yield _gauge("keyledger_ledger_unfolded_rows", "Rows that wait to be folded.", found.ledger.rows)
            yield _gauge("keyledger_ledger_lag_seconds", "Age of the oldest of them.", found.ledger.lag_seconds)
        if found.deliveries is not None:
            yield from _deliveries(found.deliveries)
        if found.holds is not None:
            yield _gauge("keyledger_holds_open", "Calls that are held for at present.", found.holds)


def _stores(found: Readings) -> Iterator[Metric]:
    up = GaugeMetricFamily("keyledger_store_up", "Whether a store answers.", labels=["store"])
    up.add_metric(["sql"], float(found.jobs is not None))
    up.add_metric(["redis"], float(found.holds is not None))
    yield up


def _jobs(records: list[JobRecord], parked: Mapping[str, Parked]) -> Iterator[Metric]:
    families = {
        "interval_seconds": "How often the job is sent.",
        "last_success_timestamp_seconds": "When it last ended well; absent before the first time.",
        "last_rows": "Rows that its last run dealt with.",
        "failures": "Failed runs since the last success.",
    }
    for name, text in families.items():
        family = GaugeMetricFamily(f"keyledger_job_{name}", text, labels=["job"])
        for record in records:
            value = _of_job(record, name)
            if value is not None:
                family.add_metric([record.name], value)
        yield family
    aside = GaugeMetricFamily("keyledger_job_parked_rows", "Rows that it has set aside.", labels=["job"])
    for name, found in parked.items():
        aside.add_metric([name], found.rows)
    yield aside


def _of_job(record: JobRecord, name: str) -> float | None:
    if name == "last_success_timestamp_seconds":
        return None if record.last_finished_at is None else record.last_finished_at.timestamp()
    return float(getattr(record, name))


def _deliveries(found: DeliveryGauges) -> Iterator[Metric]:
    yield _gauge("keyledger_events_unrouted", "Events that nobody has addressed yet.", found.unrouted)
    yield _gauge("keyledger_deliveries_waiting", "Deliveries that wait to be sent.", found.waiting)
    yield _gauge("keyledger_deliveries_parked", "Deliveries that were given up.", found.parked)
    yield _gauge("keyledger_deliveries_lag_seconds", "For how long the oldest has waited.", found.lag_seconds)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
