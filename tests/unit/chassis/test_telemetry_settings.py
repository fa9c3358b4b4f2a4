"""What OpenTelemetry's variables mean here."""

import pytest

from penstock_chassis.telemetry_settings import TelemetrySettings
from penstock_chassis.tracing import Sampling

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for field in TelemetrySettings.__struct_fields__:
        monkeypatch.delenv(f"OTEL_{field.upper()}", raising=False)


def told(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return TelemetrySettings.read()


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
        (
            ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            True,
        ),
    ],
)
def test_a_collector_is_wanted_when_it_is_named(monkeypatch, variables, wanted):
    assert told(monkeypatch, **variables).wanted() is wanted


@pytest.mark.parametrize(
    ("sampler", "argument", "sampling"),
    [
        ("", "", Sampling(0.01, True)),
        ("", "0.5", Sampling(0.5, True)),
        ("always_on", "0.5", Sampling(1.0, False)),
        ("always_off", "", Sampling(0.0, False)),
        ("traceidratio", "0.25", Sampling(0.25, False)),
        ("parentbased_always_on", "", Sampling(1.0, True)),
        ("parentbased_always_off", "", Sampling(0.0, True)),
        ("parentbased_traceidratio", "0.002", Sampling(0.002, True)),
        ("parentbased_traceidratio", "many", Sampling(0.01, True)),
        ("parentbased_traceidratio", "1.5", Sampling(0.01, True)),
        ("parentbased_traceidratio", "nan", Sampling(0.01, True)),
        ("jaeger_remote", "0.5", Sampling(0.5, True)),
    ],
)
def test_samplers(monkeypatch, sampler, argument, sampling):
    settings = told(monkeypatch, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
    assert settings.sampling() == sampling


def test_numbers_have_bounds(monkeypatch):
    settings = told(
        monkeypatch,
        OTEL_BSP_SCHEDULE_DELAY="0",
        OTEL_BSP_MAX_QUEUE_SIZE="30",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="512",
    )
    assert (settings.delay_seconds(), settings.queue_size(), settings.batch_size()) == (0.01, 30, 30)
    usual = told(
        monkeypatch, OTEL_BSP_MAX_QUEUE_SIZE="x", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="", OTEL_BSP_SCHEDULE_DELAY=""
    )
    assert (usual.delay_seconds(), usual.queue_size(), usual.batch_size()) == (1.0, 2048, 256)
