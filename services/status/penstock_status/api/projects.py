"""/admin/v1/projects: the tenants."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from penstock.auth.v1 import admin_pb2
from penstock_status import moments, project_names
from penstock_status.api.access import ACTOR, PeersDep
from penstock_status.api.asked import Asked

router = APIRouter(prefix="/projects", tags=["projects"])


class ProjectDocument(BaseModel):
    """A project and what credit it has, in micro-USD."""

    name: str
    created_at: datetime
    balance_micro: int

    @classmethod
    def of(cls, project: admin_pb2.Project) -> "ProjectDocument":
        """Translate auth's answer."""
        return cls(
            name=project.name, created_at=moments.of_ms(project.created_at_ms), balance_micro=project.balance_micro
        )


class NewProject(Asked):
    """What a new project needs."""

    name: str = Field(pattern=project_names.PATTERN, description="Letters, digits, `.`, `_`, `-`; at most 63.")


@router.post("", status_code=201)
async def create(new: NewProject, peers: PeersDep) -> ProjectDocument:
    """Create a project."""
    request = admin_pb2.CreateProjectRequest(name=new.name, actor=ACTOR)
    return ProjectDocument.of(await peers.ask(peers.admin.CreateProject, request))


@router.get("")
async def list_all(peers: PeersDep) -> list[ProjectDocument]:
    """List all projects."""
    answer = await peers.ask(peers.admin.ListProjects, admin_pb2.ListProjectsRequest())
    return [ProjectDocument.of(project) for project in answer.projects]
