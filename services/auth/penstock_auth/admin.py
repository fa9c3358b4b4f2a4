"""auth.v1.AdminService over gRPC: for the status service and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.auth.v1 import admin_pb2, admin_pb2_grpc
from penstock_auth import translation
from penstock_auth.audit import list_audit
from penstock_auth.credit import list_entries
from penstock_auth.errors import Invalid
from penstock_auth.grpc_errors import answers
from penstock_auth.keys import KeyOrder
from penstock_auth.projects import list_projects
from penstock_auth.spend import TOTAL
from penstock_auth.usage import list_rows, show, summarize

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from grpc.aio import ServicerContext

    from penstock.auth.v1 import auth_pb2
    from penstock_auth.administration import Administration
    from penstock_auth.database import Database
    from penstock_auth.key_book import KeyBook
    from penstock_auth.keys import Key

    Context: TypeAlias = ServicerContext[Any, Any]

_LIST_ROWS: Final = 100
_MOST_LIST_ROWS: Final = 10_000
_SUM_SECONDS: Final = 20.0


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Projects, keys, credit, plans in force, the ledger's rows, audit."""

    def __init__(
        self, administration: Administration, database: Database, keys: KeyBook, now_ms: Callable[[], int]
    ) -> None:
        self._administration = administration
        self._database = database
        self._keys = keys
        self._now_ms = now_ms

    @answers
    async def CreateProject(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.CreateProjectRequest, context: Context
    ) -> admin_pb2.Project:
        """Make a project."""
        del context
        return translation.project_message(await self._administration.create_project(request.name, request.actor))

    @answers
    async def ListProjects(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.ListProjectsRequest, context: Context
    ) -> admin_pb2.ListProjectsResponse:
        """List all projects."""
        del request, context
        found = await self._database.read(list_projects)
        return admin_pb2.ListProjectsResponse(projects=[translation.project_message(each) for each in found])

    @answers
    async def CreateKey(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.CreateKeyRequest, context: Context
    ) -> admin_pb2.CreateKeyResponse:
        """Make a key; its text is in this answer only."""
        del context
        order = KeyOrder(
            project=request.project,
            plan=request.plan,
            name=request.name,
            expires_at_ms=request.expires_at_ms,
            spend_limit_micro=request.spend_limit_micro,
            spend_limit_period=request.spend_limit_period or TOTAL,
        )
        key, text = await self._administration.create_key(order, request.actor)
        return admin_pb2.CreateKeyResponse(key=self._message(key, 0), secret=text)

    @answers
    async def ListKeys(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.ListKeysRequest, context: Context
    ) -> admin_pb2.ListKeysResponse:
        """List a project's keys, or all."""
        del context
        found = await self._administration.list_keys(request.project)
        return admin_pb2.ListKeysResponse(keys=[self._message(key, spent) for key, spent in found])

    @answers
    async def GetKey(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.GetKeyRequest, context: Context
    ) -> admin_pb2.Key:
        """Show one key."""
        del context
        return await self._shown(request.id)

    @answers
    async def DisableKey(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.DisableKeyRequest, context: Context
    ) -> admin_pb2.Key:
        """Disable a key for good."""
        del context
        key = await self._administration.disable_key(_name(request.id), request.actor)
        return await self._shown(key.id)

    @answers
    async def RotateKey(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.RotateKeyRequest, context: Context
    ) -> admin_pb2.CreateKeyResponse:
        """Replace a key."""
        del context
        key, spent, text = await self._administration.rotate_key(
            _name(request.id), request.overlap_seconds, request.actor
        )
        return admin_pb2.CreateKeyResponse(key=self._message(key, spent), secret=text)

    @answers
    async def AddCredit(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.AddCreditRequest, context: Context
    ) -> admin_pb2.CreditEntry:
        """Append a credit entry."""
        del context
        entry = await self._administration.add_credit(
            _name(request.project),
            kind=request.kind,
            amount_micro=request.amount_micro,
            note=request.note,
            idempotency_key=request.idempotency_key,
            actor=request.actor,
        )
        return translation.entry_message(entry)

    @answers
    async def ListCredit(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.ListCreditRequest, context: Context
    ) -> admin_pb2.ListCreditResponse:
        """List a project's newest entries and its balance."""
        del context
        project, limit = _name(request.project), _rows(request.limit)
        entries, balance = await self._database.read(lambda connection: list_entries(connection, project, limit))
        return admin_pb2.ListCreditResponse(
            entries=[translation.entry_message(each) for each in entries], balance_micro=balance
        )

    @answers
    async def ListPlans(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.ListPlansRequest, context: Context
    ) -> admin_pb2.ListPlansResponse:
        """List the plans in force."""
        del request, context
        return admin_pb2.ListPlansResponse(plans=translation.plan_messages(self._keys.catalog))

    @answers
    async def ListUsage(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.ListUsageRequest, context: Context
    ) -> admin_pb2.ListUsageResponse:
        """List ledger rows, newest first, in pages."""
        del context
        rows, token = await self._database.report(
            lambda connection: list_rows(
                connection,
                project=_name(request.project),
                since_ms=request.since_ms,
                state=request.state,
                limit=request.limit,
                page_token=request.page_token,
            ),
            seconds=_SUM_SECONDS,
        )
        return admin_pb2.ListUsageResponse(rows=[translation.usage_row(each) for each in rows], next_page_token=token)

    @answers
    async def ShowUsage(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.ShowUsageRequest, context: Context
    ) -> auth_pb2.UsageRow:
        """Show one ledger row."""
        del context
        request_id = _name(request.request_id)
        return translation.usage_row(await self._database.read(lambda connection: show(connection, request_id)))

    @answers
    async def SummarizeUsage(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.SummarizeUsageRequest, context: Context
    ) -> admin_pb2.UsageSummary:
        """Sum ledger rows."""
        del context
        project = _name(request.project)
        summary = await self._database.report(
            lambda connection: summarize(
                connection, project=project, since_ms=request.since_ms, until_ms=request.until_ms
            ),
            seconds=_SUM_SECONDS,
        )
        return translation.summary_message(summary)

    @answers
    async def ListAudit(  # noqa: N802 -- gRPC's name
        self, request: admin_pb2.ListAuditRequest, context: Context
    ) -> admin_pb2.ListAuditResponse:
        """List the newest administrative acts."""
        del context
        limit = _rows(request.limit)
        entries = await self._database.read(lambda connection: list_audit(connection, limit))
        return admin_pb2.ListAuditResponse(entries=[translation.audit_message(each) for each in entries])

    async def _shown(self, key_id: str) -> admin_pb2.Key:
        return self._message(*await self._administration.get_key(_name(key_id)))

    def _message(self, key: Key, spent_micro: int) -> admin_pb2.Key:
        return translation.key_message(key, spent_micro, self._now_ms())


def _rows(limit: int) -> int:
    return min(limit, _MOST_LIST_ROWS) if limit > 0 else _LIST_ROWS


def _name(text: str) -> str:
    if "\0" in text:
        raise Invalid("a name holds no NUL character")
    return text
