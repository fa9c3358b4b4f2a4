# ruff: noqa: RET503 -- the methods have the names of the protos, and an abort raises
"""Auth's administration and the router's observed state in memory, on real gRPC over unix sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from penstock.auth.v1 import admin_pb2, admin_pb2_grpc, auth_pb2
from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_chassis import rpc
from penstock_status.app import create_app
from penstock_status.bearer import BearerToken
from penstock_status.peers import Peers

TOKEN = "test-token-of-sixteen-or-more"
NOW_MS = 1_790_000_000_000


def usage_row(index: int, project: str = "demo", state: str = "complete") -> auth_pb2.UsageRow:
    used = auth_pb2.Usage(
        input_tokens=10 + index,
        output_tokens=5,
        cache_read_input_tokens=3,
        cache_write_5m_input_tokens=2,
        cache_write_1h_input_tokens=1,
    )
    failed = auth_pb2.Attempt(
        index=0, account="b", status=529, first_byte_ms=-1, started_at_ms=NOW_MS, **{"class": "Overloaded"}
    )
    served = auth_pb2.Attempt(
        index=1,
        account="a",
        status=200,
        usage=used,
        reported=True,
        upstream_request_id="req_up",
        started_at_ms=NOW_MS,
        first_byte_ms=12,
        duration_ms=34,
        upstream_model="claude-haiku-4-5",
        **{"class": "Ok"},
    )
    return auth_pb2.UsageRow(
        request_id=f"req_{index:032x}",
        project=project,
        key_id="keyaaaaaaaab",
        account="a",
        model="claude-haiku-4-5",
        state=state,
        usage=used,
        cost_micro=100 + index,
        admitted_at_ms=NOW_MS + index,
        duration_ms=40,
        attempts=[auth_pb2.AttemptRow(attempt=failed), auth_pb2.AttemptRow(attempt=served, cost_micro=100 + index)],
        dialect="anthropic",
        streamed=True,
        price_digest="0123456789abcdef",
    )


class FakeAdmin(admin_pb2_grpc.AdminServiceServicer):
    """Books in dictionaries. `fail` maps a method's name to (code, details) that it answers."""

    def __init__(self) -> None:
        self.projects: dict[str, admin_pb2.Project] = {}
        self.keys: dict[str, admin_pb2.Key] = {}
        self.entries: list[admin_pb2.CreditEntry] = []
        self.rows: list[auth_pb2.UsageRow] = []
        self.page_rows = 1000
        self.requests: list[Any] = []
        self.fail: dict[str, tuple[grpc.StatusCode, str]] = {}
        self.hang = False
        self.two_plans = False

    async def _seen(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        if self.hang:
            await asyncio.sleep(30)
        method = type(request).__name__.removesuffix("Request")
        if method in self.fail:
            await context.abort(*self.fail[method])

    def _new_id(self) -> str:
        return f"keyaaaaaaaa{'abcdefgh'[len(self.keys) + 1]}"

    async def _known(self, project: str, context: Any) -> None:
        if project and project not in {*self.projects, *(row.project for row in self.rows)}:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no project {project}; list the projects")

    def _project(self, name: str) -> admin_pb2.Project:
        return self.projects.setdefault(name, admin_pb2.Project(name=name, created_at_ms=NOW_MS))

    async def CreateProject(self, request, context):
        await self._seen(request, context)
        if request.name in self.projects:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"project {request.name} exists")
        return self._project(request.name)

    async def ListProjects(self, request, context):
        await self._seen(request, context)
        return admin_pb2.ListProjectsResponse(projects=self.projects.values())

    async def CreateKey(self, request, context):
        await self._seen(request, context)
        if request.plan != "team":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"there is no plan {request.plan}")
        self._project(request.project)
        key = admin_pb2.Key(
            id=self._new_id(),
            prefix=f"psk_{self._new_id()}",
            project=request.project,
            plan=request.plan,
            name=request.name,
            state="Active",
            created_at_ms=NOW_MS,
            expires_at_ms=request.expires_at_ms,
            spend_limit_micro=request.spend_limit_micro,
            spend_limit_period=request.spend_limit_period,
            source="SelfService",
        )
        self.keys[key.id] = key
        return admin_pb2.CreateKeyResponse(key=key, secret=f"{key.prefix}_secret")

    async def ListKeys(self, request, context):
        await self._seen(request, context)
        await self._known(request.project, context)
        return admin_pb2.ListKeysResponse(keys=[k for k in self.keys.values() if request.project in {"", k.project}])

    async def _key(self, key_id, context):
        if key_id not in self.keys:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no key {key_id}")
        return self.keys[key_id]

    async def GetKey(self, request, context):
        await self._seen(request, context)
        return await self._key(request.id, context)

    async def DisableKey(self, request, context):
        await self._seen(request, context)
        key = await self._key(request.id, context)
        key.state = "Disabled"
        return key

    async def RotateKey(self, request, context):
        await self._seen(request, context)
        old = await self._key(request.id, context)
        key = admin_pb2.Key()
        key.CopyFrom(old)
        key.id = self._new_id()
        key.prefix = f"psk_{key.id}"
        self.keys[key.id] = key
        return admin_pb2.CreateKeyResponse(key=key, secret=f"{key.prefix}_secret")

    async def AddCredit(self, request, context):
        await self._seen(request, context)
        project = self._project(request.project)
        project.balance_micro += request.amount_micro
        entry = admin_pb2.CreditEntry(
            id=len(self.entries) + 1,
            project=request.project,
            kind=request.kind,
            amount_micro=request.amount_micro,
            note=request.note,
            created_at_ms=NOW_MS,
            balance_micro=project.balance_micro,
        )
        self.entries.append(entry)
        return entry

    async def ListCredit(self, request, context):
        await self._seen(request, context)
        await self._known(request.project, context)
        entries = [e for e in self.entries if e.project == request.project][: request.limit]
        return admin_pb2.ListCreditResponse(entries=entries, balance_micro=self.projects[request.project].balance_micro)

    async def ListPlans(self, request, context):
        await self._seen(request, context)
        plan = admin_pb2.Plan(
            name="team",
            models=["*"],
            limits=[
                admin_pb2.PlanLimit(name="per-minute", unit="Requests", amount=600, window_seconds=60, scope="Key")
            ],
            max_concurrent_requests=64,
            credit="NotRequired",
            over_budget="Settled",
            on_store_outage="Closed",
            price_multiplier="1.00",
            translation="Allow",
            messages_translation="Deny",
            route_header="Show",
        )
        strict = admin_pb2.Plan(
            name="strict", models=["claude-*"], translation="Deny", messages_translation="Deny", route_header="Hide"
        )
        if self.two_plans:
            return admin_pb2.ListPlansResponse(plans=[plan, strict])
        return admin_pb2.ListPlansResponse(plans=[plan])

    async def ListUsage(self, request, context):
        await self._seen(request, context)
        await self._known(request.project, context)
        rows = [
            row
            for row in self.rows
            if request.project in {"", row.project}
            and request.state in {"", row.state}
            and row.admitted_at_ms >= request.since_ms
        ]
        begin = int(request.page_token or 0)
        end = begin + min(request.limit, self.page_rows)
        return admin_pb2.ListUsageResponse(rows=rows[begin:end], next_page_token=str(end) if end < len(rows) else "")

    async def ShowUsage(self, request, context):
        await self._seen(request, context)
        for row in self.rows:
            if row.request_id == request.request_id:
                return row
        await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no row {request.request_id}")

    async def SummarizeUsage(self, request, context):
        await self._seen(request, context)
        await self._known(request.project, context)
        rows = [row for row in self.rows if row.project == request.project]
        used = auth_pb2.Usage(
            input_tokens=sum(r.usage.input_tokens for r in rows),
            output_tokens=sum(r.usage.output_tokens for r in rows),
            cache_read_input_tokens=sum(r.usage.cache_read_input_tokens for r in rows),
            cache_write_5m_input_tokens=sum(r.usage.cache_write_5m_input_tokens for r in rows),
            cache_write_1h_input_tokens=sum(r.usage.cache_write_1h_input_tokens for r in rows),
        )
        return admin_pb2.UsageSummary(requests=len(rows), usage=used, cost_micro=sum(r.cost_micro for r in rows))

    async def ListAudit(self, request, context):
        await self._seen(request, context)
        entry = admin_pb2.AuditEntry(
            id=1, created_at_ms=NOW_MS, actor="admin-token", action="key.create", subject="keyaaaaaaaab"
        )
        return admin_pb2.ListAuditResponse(entries=[entry])


class FakeRouter(router_pb2_grpc.RouterServiceServicer):
    """An account of each provider: one cooling, one refused, one that serves nothing."""

    def __init__(self) -> None:
        self.silent = False
        self.asked: list[router_pb2.ExplainRequest] = []

    async def Explain(self, request, context):
        self.asked.append(request)
        models = {"claude-haiku-4-5": "anthropic", "haiku": "anthropic", "gpt-5": "openai"}
        if request.model not in models:
            return router_pb2.ExplainResponse(catalog_version="v1", soonest_ms=5000)
        gpt = request.model == "gpt-5"
        rows = (
            [("e", True, "Eligible", 0.5, 1, 0)]
            if gpt
            else [
                ("a", True, "Eligible", 0.5, 1, 0),
                ("z", True, "FailedLately", 0.25, 2, 0),
                ("b", False, "Overloaded", 0.0, 0, 9000),
            ]
        )
        if gpt and request.providers and "OpenAI" not in request.providers:
            rows = [("e", False, "OtherProvider", 0.0, 0, 0)]
        return router_pb2.ExplainResponse(
            candidates=[
                router_pb2.Candidate(account=a, eligible=b, reason=c, score=d, rank=e, soonest_ms=f)
                for a, b, c, d, e, f in rows
            ],
            catalog_version="v1",
            model="gpt-5" if gpt else "claude-haiku-4-5",
            aliases=[] if gpt else ["haiku"],
            owned_by=models[request.model],
        )

    async def WatchObserved(self, request, context):
        if self.silent:
            return
        cooldown = router_pb2.Cooldown(
            account="b",
            model="claude-haiku-4-5",
            remaining_ms=9000,
            ramp_percent=100,
            reason="529",
            **{"class": "Overloaded"},
        )
        refused = router_pb2.Cooldown(
            account="c", remaining_ms=15_000, reason="CredentialInvalid", **{"class": "CredentialInvalid"}
        )
        yield router_pb2.Observed(
            catalog_version="v1",
            accounts=[
                router_pb2.AccountObserved(
                    name="b", provider="Anthropic", mode="Active", reason="Cooling", cooldowns=[cooldown], weight=100
                ),
                router_pb2.AccountObserved(
                    name="a", provider="Anthropic", mode="Active", ready=True, reason="Ready", in_flight=2, weight=100
                ),
                router_pb2.AccountObserved(
                    name="c",
                    provider="Gemini",
                    mode="Active",
                    reason="CredentialInvalid",
                    message="CredentialInvalid: takes no new requests",
                    cooldowns=[refused],
                    weight=100,
                ),
                router_pb2.AccountObserved(
                    name="d",
                    provider="OpenAICompatible",
                    mode="Active",
                    reason="NoModels",
                    message="it serves no model: write Model resources for what it has",
                    weight=100,
                ),
                router_pb2.AccountObserved(
                    name="e", provider="OpenAI", mode="Active", ready=True, reason="Ready", weight=100
                ),
            ],
        )
        await asyncio.sleep(30)


@asynccontextmanager
async def serving(folder: Path, admin: FakeAdmin, router: FakeRouter, *, deadline: float = 2.0, probe: float = 1.0):
    """Give the app on top of both fakes."""
    servers = []
    for name, add, servicer in (
        ("auth", admin_pb2_grpc.add_AdminServiceServicer_to_server, admin),
        ("router", router_pb2_grpc.add_RouterServiceServicer_to_server, router),
    ):
        server = rpc.RpcServer(f"unix:{folder}/{name}.sock")
        add(servicer, server.server)
        await server.begin()
        servers.append(server)
    channels = [rpc.channel(f"unix:{folder}/{name}.sock") for name in ("auth", "router")]
    peers = Peers(*channels, deadline_seconds=deadline, probe_seconds=probe)
    try:
        yield create_app(peers, BearerToken(TOKEN)), servers
    finally:
        for channel in channels:
            await channel.close()
        for server in servers:
            await server.end(0.1)
