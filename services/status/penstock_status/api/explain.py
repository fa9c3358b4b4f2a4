"""/admin/v1/explain: which account would serve a request, and why each was taken or dropped."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from penstock.auth.v1 import admin_pb2
from penstock.router.v1 import router_pb2
from penstock_routing import Candidate, words
from penstock_routing.access import EMBEDDINGS, MESSAGES, PROVIDERS, WIRES, is_claude, may_use, providers_for
from penstock_routing.affinity import affinity_key
from penstock_status.api.access import PeersDep
from penstock_status.api.accounts import AccountDocument
from penstock_status.api.asked import Asked
from penstock_status.peers import Peers
from penstock_status.problems import NotFound, Refused

router = APIRouter(prefix="/explain", tags=["explain"])

Dialect = Literal["anthropic", "openai_chat", "openai_responses", "openai_embeddings", "gemini"]


class Question(Asked):
    """A request as far as routing looks at it."""

    model: str = Field(min_length=1, max_length=256, description="Name or alias of the model.")
    key: str | None = Field(
        default=None, min_length=1, max_length=253, description="Id or name of a key, never the key."
    )
    project: str | None = Field(default=None, min_length=1, max_length=63, description="Where no key is given.")
    session: str | None = Field(
        default=None, min_length=1, max_length=1000, description="The client's own name of its conversation."
    )
    dialect: Dialect | None = Field(
        default=None, description="What the client speaks; without it, translation is not judged."
    )
    operation: Literal["messages", "count_tokens"] = "messages"
    tokens: int = Field(default=0, ge=0, le=10**12, description="Input and output together, as estimated.")


class RefusalDocument(BaseModel):
    """Why the gateway would refuse the request before it looked for an account."""

    reason: str = Field(
        description="KeyNotActive, PlanMissing, ModelNotInPlan, NotClaude, NoTranslation: the plan's or key's own word."
    )
    detail: str


class DialectDocument(BaseModel):
    """Which providers' accounts a request in one dialect may reach, by the plan's translation."""

    dialect: str
    providers: list[str]
    refusal: RefusalDocument | None


class AskerDocument(BaseModel):
    """Whose request it is."""

    id: str
    prefix: str
    name: str
    state: str
    project: str
    plan: str
    models: list[str] = Field(description="Patterns of the models that the plan includes.")
    translation: str | None = Field(description="Allow or Deny; None: there is no such plan.")
    messages_translation: str | None
    route_header: str | None


class CandidateDocument(BaseModel):
    """An account that serves the model."""

    account: str
    verdict: str = Field(description="taken, next, cooling, returning, full, dropped or closed.")
    why: str
    rank: int | None = Field(description="1 is taken first; None: not at all.")
    score: float | None = Field(description="Compared within a tier: by affinity, or by free capacity. None: dropped.")
    tier: int
    soonest_ms: int | None = Field(description="Until it may take requests; None: now, or nobody knows.")
    state: AccountDocument | None = Field(description="The account as the router sees it.")


class Explanation(BaseModel):
    """What would become of the request now."""

    model: str
    owned_by: str
    aliases: list[str]
    key: AskerDocument | None
    project: str | None
    affinity: str | None = Field(
        description="What selection hashes, hexadecimal; None: no account is better than another."
    )
    refusals: list[RefusalDocument]
    dialects: list[DialectDocument]
    candidates: list[CandidateDocument] = Field(description="Best first, dropped ones last.")
    soonest_ms: int | None = Field(description="Until the first of them may take it; 0: now.")
    catalog_version: str


@router.post("")
async def explain(question: Question, peers: PeersDep) -> Explanation:
    """Explain with the code that picks: the router's picture of now, without the shares that edges hold."""
    asker = None if question.key is None else await _asker(question.key, peers)
    project = question.project if asker is None else asker.project
    if question.session is not None and project is None:
        raise Refused("a session means nothing without a project", action="Give a key, or a project.")
    known = await peers.explain(router_pb2.ExplainRequest(model=question.model, operation=question.operation))
    if not known.model:
        raise NotFound(
            f"there is no model {question.model!r}",
            action="See the Model resources, or what GET /v1/models gives to a key, and check the spelling.",
        )
    dialects = list(_dialects(question, known, asker))
    chosen = next((each for each in dialects if each.dialect == question.dialect), None)
    affinity = affinity_key(project, question.session, (), b"") if project and question.session else None
    request = router_pb2.ExplainRequest(
        model=question.model,
        project=project or "",
        affinity=affinity or b"",
        operation=question.operation,
        estimated_tokens=question.tokens,
        providers=[] if chosen is None else chosen.providers,
    )
    answer, observed = await asyncio.gather(peers.explain(request), peers.observed())
    now_ms = time.time_ns() // 1_000_000
    states = {account.name: AccountDocument.of(account, now_ms) for account in observed.accounts}
    refusals = [*_of_key(question, known, asker)]
    if chosen is not None and (refusal := chosen.refusal or _unreachable(chosen, answer, states)) is not None:
        refusals.append(refusal)
    return Explanation(
        model=known.model,
        owned_by=known.owned_by,
        aliases=list(known.aliases),
        key=asker,
        project=project,
        affinity=affinity.hex() if affinity else None,
        refusals=refusals,
        dialects=dialects,
        candidates=_candidates(answer, states, affinity=affinity is not None),
        soonest_ms=answer.soonest_ms if answer.candidates else None,
        catalog_version=answer.catalog_version,
    )


async def _asker(text: str, peers: Peers) -> AskerDocument:
    """Find a key by its id, else by its name where only one has it. Raises NotFound and Refused.

    Neither repeats `text`: who mistakes what is asked for gives the key itself.
    """
    try:
        key = await peers.ask(peers.admin.GetKey, admin_pb2.GetKeyRequest(id=text))
    except NotFound:
        listed = await peers.ask(peers.admin.ListKeys, admin_pb2.ListKeysRequest())
        named = [each for each in listed.keys if each.name == text]
        if len(named) > 1:
            raise Refused(f"{len(named)} keys bear this name", action="Give the key's id.") from None
        if not named:
            raise NotFound("no key has this id or this name", action="List the keys to see both.") from None
        key = named[0]
    plans = await peers.ask(peers.admin.ListPlans, admin_pb2.ListPlansRequest())
    plan = next((each for each in plans.plans if each.name == key.plan), None)
    return AskerDocument(
        id=key.id,
        prefix=key.prefix,
        name=key.name,
        state=key.state,
        project=key.project,
        plan=key.plan,
        models=[] if plan is None else list(plan.models),
        translation=None if plan is None else plan.translation,
        messages_translation=None if plan is None else plan.messages_translation,
        route_header=None if plan is None else plan.route_header,
    )


def _of_key(
    question: Question, known: router_pb2.ExplainResponse, asker: AskerDocument | None
) -> Iterator[RefusalDocument]:
    """Give what the key and its plan say against the request, whatever it speaks."""
    if asker is None:
        return
    if asker.state != "Active":
        yield RefusalDocument(reason="KeyNotActive", detail=f"the key is {asker.state}")
    if asker.translation is None:
        yield RefusalDocument(reason="PlanMissing", detail=f"there is no plan {asker.plan}")
    elif not may_use(tuple(asker.models), known.model, tuple(known.aliases), question.model):
        yield RefusalDocument(
            reason="ModelNotInPlan", detail=f"plan {asker.plan} does not include the model {known.model}"
        )


def _dialects(
    question: Question, known: router_pb2.ExplainResponse, asker: AskerDocument | None
) -> Iterator[DialectDocument]:
    """Give what the plan lets each dialect reach; without a key, as if it let it reach everything."""
    translation = asker is None or asker.translation == "Allow"
    messages = asker is None or asker.messages_translation == "Allow"
    counting = question.operation == "count_tokens"
    for dialect, wire in WIRES.items():
        refusal = None
        if wire == MESSAGES and not messages and not is_claude(known.model, known.owned_by):
            refusal = RefusalDocument(
                reason="NotClaude", detail=f"the plan serves Claude models alone on /v1/messages, not {known.model}"
            )
        if counting and wire == EMBEDDINGS:
            continue
        allowed = providers_for(wire, known.model, counting=counting, translation=translation)
        yield DialectDocument(
            dialect=dialect,
            providers=[] if refusal else sorted(PROVIDERS if allowed is None else allowed),
            refusal=refusal,
        )


def _unreachable(
    chosen: DialectDocument, answer: router_pb2.ExplainResponse, states: dict[str, AccountDocument]
) -> RefusalDocument | None:
    """Say so when no account that serves the model is of a provider that the dialect may reach."""
    serving = {states[row.account].provider for row in answer.candidates if row.account in states}
    if not serving or serving & set(chosen.providers):
        return None
    return RefusalDocument(
        reason="NoTranslation", detail=f"no account of {', '.join(chosen.providers)} serves the model"
    )


def _candidates(
    answer: router_pb2.ExplainResponse, states: dict[str, AccountDocument], *, affinity: bool
) -> list[CandidateDocument]:
    rows: Sequence[Candidate] = [
        Candidate(
            account=row.account,
            eligible=row.eligible,
            reason=row.reason,
            score=row.score,
            tier=row.tier,
            rank=row.rank,
            seconds=row.soonest_ms / 1000,
        )
        for row in answer.candidates
    ]
    return [
        CandidateDocument(
            account=row.account,
            verdict=words.verdict(row),
            why=words.why(row, rows, affinity=affinity),
            rank=row.rank or None,
            score=row.score if row.eligible else None,
            tier=row.tier,
            soonest_ms=round(row.seconds * 1000) or None,
            state=states.get(row.account),
        )
        for row in rows
    ]
