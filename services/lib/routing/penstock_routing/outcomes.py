"""What happened to one upstream attempt: its class, and the facts that health rules need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from penstock_routing.accounts import Hints

OK: Final = "Ok"
BEGUN: Final = "Begun"
"""Output has begun: for health a success already, the request goes on. Reported for watched picks only."""
CLIENT_LEFT: Final = "ClientLeft"
CLIENT_FAULT: Final = "ClientFault"
THROTTLED: Final = "Throttled"
THROTTLED_NO_HINT: Final = "ThrottledNoHint"
OVERLOADED: Final = "Overloaded"
UNSTABLE: Final = "Unstable"
CREDENTIAL_INVALID: Final = "CredentialInvalid"
FORBIDDEN: Final = "Forbidden"
QUOTA_EXHAUSTED: Final = "QuotaExhausted"
MODEL_MISSING: Final = "ModelMissing"

CLASSES: Final = (
    OK,
    BEGUN,
    CLIENT_LEFT,
    CLIENT_FAULT,
    THROTTLED,
    THROTTLED_NO_HINT,
    OVERLOADED,
    UNSTABLE,
    CREDENTIAL_INVALID,
    FORBIDDEN,
    QUOTA_EXHAUSTED,
    MODEL_MISSING,
)
"""Every class that an attempt can end with. Metrics use these as label values; anything else counts as Unstable."""

MESSAGES: Final = "messages"
COUNT_TOKENS: Final = "count_tokens"


# Of every request, so it is made by an `__init__` of its own: the one of a dataclass is slow in compiled modules.
@dataclass(slots=True, init=False)
class Outcome:
    """One attempt's end. Times are seconds of the caller's own monotonic `now`.

    Nobody changes one, but `Pool.finished` what an upstream asked for without a word.
    """

    request_id: str
    project: str
    account: str
    model: str
    """Public model name (not an alias, not the upstream's name)."""
    operation: str
    cls: str
    status: int
    """HTTP status of the upstream; 0 when none came."""
    retry_after: float | None
    """Seconds that the upstream asked for; None without a hint."""
    sent_at: float
    ended_at: float
    first_byte: bool
    """True when any byte of an answer came."""
    tokens: int
    """Input and output together, as reported; -1 unknown (the estimate then stands)."""
    trial: bool
    """It was the one request of a half-open return."""
    hints: Hints | None

    def __init__(
        self,
        *,
        request_id: str,
        project: str,
        account: str,
        model: str,
        operation: str = MESSAGES,
        cls: str = OK,
        status: int = 0,
        retry_after: float | None = None,
        sent_at: float = 0.0,
        ended_at: float = 0.0,
        first_byte: bool = False,
        tokens: int = -1,
        trial: bool = False,
        hints: Hints | None = None,
    ) -> None:
        self.request_id = request_id
        self.project = project
        self.account = account
        self.model = model
        self.operation = operation
        self.cls = cls
        self.status = status
        self.retry_after = retry_after
        self.sent_at = sent_at
        self.ended_at = ended_at
        self.first_byte = first_byte
        self.tokens = tokens
        self.trial = trial
        self.hints = hints
