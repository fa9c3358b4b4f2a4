"""What is measured of authorities and certificates. Labels are components, and reasons from a fixed set."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

DAYS_LEFT = Gauge(
    "penstock_operator_certificate_days_until_expiry",
    "Days until a component's certificate expires, as its Secret has it; `authority` is the one that issues.",
    ["of"],
)
WRITTEN = Counter(
    "penstock_operator_certificate_writes_total",
    "Writes of Secrets with authorities or certificates, by whose they are and why.",
    ["of", "reason"],
)
FAILED = Counter(
    "penstock_operator_certificate_looks_failed_total",
    "Looks at the Secrets with certificates that could not do all.",
)
FOREIGN = Gauge(
    "penstock_operator_certificate_secret_foreign",
    "1 while a Secret bears a name that we would write to, but not our labels: it is left as it is.",
    ["of"],
)
STEP = Gauge(
    "penstock_operator_authority_exchange_step",
    "0 when one authority is believed; 1 while both are, and the old one issues; 2 while the new one issues.",
)
ADMIN_TOKEN_MISSING = Gauge(
    "penstock_operator_admin_token_missing", "1 while the admin token's Secret has none and is not ours to write."
)
