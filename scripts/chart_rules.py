"""Combinations of the chart's values that cannot work: what is required instead, and when, as JSON schema.

A schema cannot say why it refuses, so the words are a property that nobody can have: "(root): WORDS is required".
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _at(path: str, schema: Schema) -> Schema:
    """Say that there is a value at a path, and that it fits."""
    for name in reversed(path.split(".")):
        schema = {"properties": {name: schema}, "required": [name]}
    return schema


def _is(path: str, value: Any) -> Schema:
    return _at(path, {"const": value})


def _given(path: str) -> Schema:
    return _at(path, {"minLength": 1})


def _above(path: str, number: int) -> Schema:
    return _at(path, {"minimum": number + 1})


def _all(*schemas: Schema) -> Schema:
    return {"allOf": list(schemas)}


def _any(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def _not(schema: Schema) -> Schema:
    return {"not": schema}


TLS = ("edge", "auth", "router", "status", "operator")
_SEVERAL = [_above(f"{one}.replicaCount", 1) for one in ("auth", "router")] + [
    _is(f"{one}.autoscaling.enabled", True) for one in ("auth", "router")
]

RULES: dict[str, Schema] = {
    "database.existingSecret and redis.existingSecret (replicas of auth or router share what they know there)": _all(
        _any(*_SEVERAL), _not(_all(_given("database.existingSecret"), _given("redis.existingSecret")))
    ),
    "redis.existingSecret (redis.cluster is true)": _all(
        _is("redis.cluster", True), _not(_given("redis.existingSecret"))
    ),
    "networkPolicy.enabled (with tls.mode Off nothing else keeps others from asking for credentials)": _all(
        _is("tls.mode", "Off"), _is("networkPolicy.enabled", False)
    ),
    "a Secret for every component in tls.existingSecrets (tls.mode is ExistingSecrets)": _all(
        _is("tls.mode", "ExistingSecrets"), _not(_all(*(_given(f"tls.existingSecrets.{one}") for one in TLS)))
    ),
    "tls.mode ExistingSecrets (tls.existingSecrets names Secrets)": _all(
        _not(_is("tls.mode", "ExistingSecrets")), _any(*(_given(f"tls.existingSecrets.{one}") for one in TLS))
    ),
    "edge.autoscaling.keda.prometheusAddress (KEDA asks Prometheus for active requests)": _all(
        _is("edge.autoscaling.enabled", True),
        _is("edge.autoscaling.provider", "KEDA"),
        _above("edge.autoscaling.activeRequests", 0),
        _not(_given("edge.autoscaling.keda.prometheusAddress")),
    ),
    "edge.autoscaling.activeRequests or edge.autoscaling.cpuUtilization (both are 0)": _all(
        _is("edge.autoscaling.enabled", True),
        _is("edge.autoscaling.activeRequests", 0),
        _is("edge.autoscaling.cpuUtilization", 0),
    ),
    **{
        f"{one}.autoscaling.cpuUtilization (there is nothing else to scale on)": _all(
            _is(f"{one}.autoscaling.enabled", True), _is(f"{one}.autoscaling.cpuUtilization", 0)
        )
        for one in ("auth", "router", "status")
    },
    "httpRoute.parentRefs (a route without a Gateway leads nowhere)": _all(
        _is("httpRoute.enabled", True), _at("httpRoute.parentRefs", {"maxItems": 0})
    ),
    "ingress.hosts (ingress.tls is for named hosts)": _all(
        _is("ingress.enabled", True), _is("ingress.tls.enabled", True), _at("ingress.hosts", {"maxItems": 0})
    ),
    "one of upstreamCA.configMap and upstreamCA.secret, not both": _all(
        _given("upstreamCA.configMap"), _given("upstreamCA.secret")
    ),
    "auth.persistence.enabled (auth.persistence.existingClaim names a volume)": _all(
        _is("auth.persistence.enabled", False), _given("auth.persistence.existingClaim")
    ),
    "edge.service.type NodePort or LoadBalancer (a ClusterIP has neither nodePort nor externalTrafficPolicy)": _all(
        _is("edge.service.type", "ClusterIP"),
        _any(_above("edge.service.nodePort", 0), _given("edge.service.externalTrafficPolicy")),
    ),
    "edge.service.type LoadBalancer (loadBalancerClass and loadBalancerSourceRanges are for it)": _all(
        _not(_is("edge.service.type", "LoadBalancer")),
        _any(_given("edge.service.loadBalancerClass"), _at("edge.service.loadBalancerSourceRanges", {"minItems": 1})),
    ),
    **{
        f"{one}.serviceAccount.name (it is not created, and the default account must not get its rights)": _all(
            _is(f"{one}.serviceAccount.create", False), _not(_given(f"{one}.serviceAccount.name"))
        )
        for one in ("auth", "router", "operator")
    },
}
"""What is required, with the reason, and when it is missing."""


def clauses() -> list[Schema]:
    """Return the rules as they stand in the values' schema."""
    return [{"if": when, "then": {"required": [words]}} for words, when in RULES.items()]
