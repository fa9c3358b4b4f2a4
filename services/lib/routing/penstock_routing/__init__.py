"""Pure selection and health rules: which account serves a request, and why."""

from penstock_routing.accounts import AccountFacts, Hints, Share, Timeouts
from penstock_routing.candidates import Candidate, Cooldown, NoneLeft, Pick, Traits
from penstock_routing.outcomes import Outcome
from penstock_routing.policy import Effect, Policy, Scope
from penstock_routing.pool import Pool
from penstock_routing.retry import Attempted, Verdict, may_retry, verdict
from penstock_routing.retry_budget import RetryBudget

__all__ = [
    "AccountFacts",
    "Attempted",
    "Candidate",
    "Cooldown",
    "Effect",
    "Hints",
    "NoneLeft",
    "Outcome",
    "Pick",
    "Policy",
    "Pool",
    "RetryBudget",
    "Scope",
    "Share",
    "Timeouts",
    "Traits",
    "Verdict",
    "may_retry",
    "verdict",
]
