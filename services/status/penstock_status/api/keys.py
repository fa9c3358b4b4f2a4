"""/admin/v1/keys: what clients send."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from penstock.auth.v1 import admin_pb2
from penstock_status import moments, project_names
from penstock_status.api.access import ACTOR, PeersDep
from penstock_status.api.asked import Asked
from penstock_status.api.credit import MOST_MICRO

router = APIRouter(prefix="/keys", tags=["keys"])

OVERLAP_SECONDS = 30 * 24 * 3600


class KeyDocument(BaseModel):
    """A key without its secret. `prefix` is safe to show; money is in micro-USD."""

    id: str
    prefix: str
    project: str
    plan: str
    name: str
    state: str = Field(description="Active, Disabled or Expired.")
    created_at: datetime
    expires_at: datetime | None
    spend_limit_micro: int | None
    spend_limit_period: str | None
    spent_micro: int = Field(description="In the current period of the spend limit.")
    source: str = Field(description="SelfService, or Declared by an APIKey resource.")

    @classmethod
    def of(cls, key: admin_pb2.Key) -> "KeyDocument":
        """Translate auth's answer."""
        return cls.model_validate(_facts(key))


class IssuedKey(KeyDocument):
    """A new key; `key` is shown this once."""

    key: str

    @classmethod
    def of_answer(cls, answer: admin_pb2.CreateKeyResponse) -> "IssuedKey":
        """Translate auth's answer."""
        return cls.model_validate({"key": answer.secret, **_facts(answer.key)})


def _facts(key: admin_pb2.Key) -> dict[str, object]:
    return {
        "id": key.id,
        "prefix": key.prefix,
        "project": key.project,
        "plan": key.plan,
        "name": key.name,
        "state": key.state,
        "created_at": moments.of_ms(key.created_at_ms),
        "expires_at": moments.of_ms_or_none(key.expires_at_ms),
        "spend_limit_micro": key.spend_limit_micro or None,
        "spend_limit_period": (key.spend_limit_period or None) if key.spend_limit_micro else None,
        "spent_micro": key.spent_micro,
        "source": key.source,
    }


class NewKey(Asked):
    """What a new key needs; its project is made if it is new."""

    project: str = Field(pattern=project_names.PATTERN)
    plan: str = Field(min_length=1, max_length=253)
    name: str = Field(default="", max_length=253)
    expires_at: datetime | None = None
    spend_limit_micro: int | None = Field(default=None, gt=0, le=MOST_MICRO)
    spend_limit_period: Literal["Total", "Month"] = "Total"


class Rotation(Asked):
    """How the old key ends."""

    overlap_seconds: int = Field(default=0, ge=0, le=OVERLAP_SECONDS, description="How long the old key goes on.")


@router.post("", status_code=201)
async def create(new: NewKey, peers: PeersDep) -> IssuedKey:
    """Create a key. The answer is the only place where it is shown."""
    request = admin_pb2.CreateKeyRequest(
        project=new.project,
        plan=new.plan,
        name=new.name,
        expires_at_ms=moments.to_ms(new.expires_at),
        spend_limit_micro=new.spend_limit_micro or 0,
        spend_limit_period=new.spend_limit_period if new.spend_limit_micro else "",
        actor=ACTOR,
    )
    return IssuedKey.of_answer(await peers.ask_once(peers.admin.CreateKey, request))


@router.get("")
async def list_all(peers: PeersDep, project: Annotated[str, Query()] = "") -> list[KeyDocument]:
    """List the keys of one project, or of all."""
    answer = await peers.ask(peers.admin.ListKeys, admin_pb2.ListKeysRequest(project=project))
    return [KeyDocument.of(key) for key in answer.keys]


@router.get("/{key_id}")
async def show(key_id: str, peers: PeersDep) -> KeyDocument:
    """Show one key by its id."""
    return KeyDocument.of(await peers.ask(peers.admin.GetKey, admin_pb2.GetKeyRequest(id=key_id)))


@router.post("/{key_id}/disable")
async def disable(key_id: str, peers: PeersDep) -> KeyDocument:
    """Disable a key for good; every edge refuses it within seconds."""
    request = admin_pb2.DisableKeyRequest(id=key_id, actor=ACTOR)
    return KeyDocument.of(await peers.ask(peers.admin.DisableKey, request))


@router.post("/{key_id}/rotate", status_code=201)
async def rotate(key_id: str, rotation: Rotation, peers: PeersDep) -> IssuedKey:
    """Issue a new key with the same facts and end the old one after the overlap."""
    request = admin_pb2.RotateKeyRequest(id=key_id, overlap_seconds=rotation.overlap_seconds, actor=ACTOR)
    return IssuedKey.of_answer(await peers.ask_once(peers.admin.RotateKey, request))
