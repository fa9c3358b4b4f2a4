"""/admin/v1/plans: the plans in force. They come from resources, so there is nothing to change here."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from penstock.auth.v1 import admin_pb2
from penstock_status.api.access import PeersDep

router = APIRouter(prefix="/plans", tags=["plans"])


class PlanLimitDocument(BaseModel):
    """One limit: at most `amount` units in any `window_seconds`."""

    name: str
    unit: str = Field(description="Requests, InputTokens, OutputTokens, TotalTokens or CostMicroUSD.")
    amount: int
    window_seconds: int
    scope: str = Field(description="Key or Project.")


class PlanDocument(BaseModel):
    """What keys of this plan may do."""

    name: str
    models: list[str] = Field(description="Patterns of model names.")
    limits: list[PlanLimitDocument]
    max_concurrent_requests: int
    credit: str = Field(description="Required or NotRequired.")
    over_budget: str = Field(description="Settled or Strict.")
    on_store_outage: str = Field(description="Closed or Degraded.")
    price_multiplier: str

    @classmethod
    def of(cls, plan: admin_pb2.Plan) -> "PlanDocument":
        """Translate auth's answer."""
        return cls(
            name=plan.name,
            models=list(plan.models),
            limits=[
                PlanLimitDocument(
                    name=limit.name,
                    unit=limit.unit,
                    amount=limit.amount,
                    window_seconds=limit.window_seconds,
                    scope=limit.scope,
                )
                for limit in plan.limits
            ],
            max_concurrent_requests=plan.max_concurrent_requests,
            credit=plan.credit,
            over_budget=plan.over_budget,
            on_store_outage=plan.on_store_outage,
            price_multiplier=plan.price_multiplier,
        )


@router.get("")
async def list_all(peers: PeersDep) -> list[PlanDocument]:
    """List the plans in force."""
    answer = await peers.ask(peers.admin.ListPlans, admin_pb2.ListPlansRequest())
    return [PlanDocument.of(plan) for plan in answer.plans]
