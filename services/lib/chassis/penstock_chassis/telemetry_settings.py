"""OpenTelemetry's own variables (OTEL_...), as far as they decide what is traced. Its library reads the others."""

from __future__ import annotations

from typing import ClassVar, Final

from penstock_chassis import logs
from penstock_chassis.settings import Settings
from penstock_chassis.tracing import Sampling

log = logs.get(__name__)

_USUAL: Final = Sampling(0.01, parent_based=True)
_PROTOCOLS: Final = frozenset({"", "http/protobuf"})


class TelemetrySettings(Settings, frozen=True, kw_only=True):
    """Read once, at the start of a process. Words that mean nothing are said in the log and passed over."""

    prefix: ClassVar[str] = "OTEL_"

    sdk_disabled: str = ""
    traces_exporter: str = ""
    exporter_otlp_endpoint: str = ""
    exporter_otlp_traces_endpoint: str = ""
    exporter_otlp_protocol: str = ""
    exporter_otlp_traces_protocol: str = ""
    traces_sampler: str = ""
    traces_sampler_arg: str = ""
    bsp_schedule_delay: str = ""
    bsp_max_queue_size: str = ""
    bsp_max_export_batch_size: str = ""

    def wanted(self) -> bool:
        """Whether there is a collector to send traces to."""
        if self.sdk_disabled.strip().lower() == "true":
            return False
        if self.traces_exporter.strip().lower() not in {"", "otlp"}:
            return False
        if not (self.exporter_otlp_traces_endpoint.strip() or self.exporter_otlp_endpoint.strip()):
            return False
        protocol = (self.exporter_otlp_traces_protocol or self.exporter_otlp_protocol).strip().lower()
        if protocol not in _PROTOCOLS:
            log.warning("tracing_off", reason="only the protocol http/protobuf is spoken", protocol=protocol)
            return False
        return True

    def sampling(self) -> Sampling:
        """Return who is traced; unless said otherwise, one request in a hundred, and what callers trace."""
        name = self.traces_sampler.strip().lower()
        parent_based = not name or name.startswith("parentbased_")
        match name.removeprefix("parentbased_"):
            case "always_on":
                return Sampling(1.0, parent_based)
            case "always_off":
                return Sampling(0.0, parent_based)
            case "traceidratio" | "":
                return Sampling(self._ratio(), parent_based)
            case _:
                log.warning("sampler_unknown", variable="OTEL_TRACES_SAMPLER", going_on_with="parentbased_traceidratio")
                return Sampling(self._ratio(), parent_based=True)

    def _ratio(self) -> float:
        if not self.traces_sampler_arg.strip():
            return _USUAL.ratio
        try:
            ratio = float(self.traces_sampler_arg)
        except ValueError:
            ratio = -1.0
        if not 0.0 <= ratio <= 1.0:
            log.warning("sampler_argument_unknown", variable="OTEL_TRACES_SAMPLER_ARG", going_on_with=_USUAL.ratio)
            return _USUAL.ratio
        return ratio

    def delay_seconds(self) -> float:
        """Return how old a batch may grow."""
        return _number(self.bsp_schedule_delay, 1000, 10) / 1000

    def queue_size(self) -> int:
        """Return how many spans may wait."""
        return _number(self.bsp_max_queue_size, 2048, 1)

    def batch_size(self) -> int:
        """Return how many spans go together."""
        return min(_number(self.bsp_max_export_batch_size, 256, 1), self.queue_size())


def _number(text: str, usual: int, least: int) -> int:
    try:
        return max(int(text), least)
    except ValueError:
        return usual
