"""YAML (or an object from the Kubernetes API) into typed resources; every fault named by file, line and field."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from penstock_catalog import aliases
from penstock_catalog.problems import InvalidResources, Place, Problem
from penstock_catalog.resources import (
    PATTERNS,
    APIKey,
    APIKeySpec,
    Metadata,
    Model,
    ModelSpec,
    Plan,
    PlanSpec,
    Resource,
    Secret,
    SecretValues,
    Strict,
    UpstreamAccount,
    UpstreamAccountSpec,
)

MAX_BYTES = 8 * 1024 * 1024
"""The most that one file may hold."""

Path = tuple[str | int, ...]


class _Written(Strict):
    """The outside of a resource; `status` is the cluster's and not looked at."""

    api_version: str
    kind: str
    metadata: Metadata
    status: Any = Field(default=None, repr=False)


class _UpstreamAccount(_Written):
    spec: UpstreamAccountSpec


class _Model(_Written):
    spec: ModelSpec


class _Plan(_Written):
    spec: PlanSpec


class _APIKey(_Written):
    spec: APIKeySpec


class _Secret(_Written, SecretValues):
    pass


_KINDS: Mapping[str, tuple[type[_Written], type[Resource]]] = {
    "UpstreamAccount": (_UpstreamAccount, UpstreamAccount),
    "Model": (_Model, Model),
    "Plan": (_Plan, Plan),
    "APIKey": (_APIKey, APIKey),
    "Secret": (_Secret, Secret),
}


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a time is a string."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Say of a value that is not what its tag says, such as `!!int x`, where it is; PyYAML would just fail."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):
            what = f"the value is not of its type, {node.tag.rpartition(':')[2]}"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark) from None


_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def plain(text: str) -> Any:
    """Read one YAML document of our own making as plain values."""
    return yaml.load(text, _Loader)  # noqa: S506 - _Loader is a safe loader


def read_text(text: str, file: str) -> list[Resource]:
    """Read all documents of a file. `InvalidResources` with every problem in it."""
    resources: list[Resource] = []
    problems: list[Problem] = []
    for node, content in _documents(text, file):
        _take(content, file, node, resources, problems)
    if problems:
        raise InvalidResources(sorted(problems, key=lambda problem: problem.place.line))
    return resources


def read_object(content: object, place: Place) -> list[Resource]:
    """Read one object, or the items of a `List`. `InvalidResources` with every problem in it."""
    resources: list[Resource] = []
    problems: list[Problem] = []
    _take(content, place.file, None, resources, problems)
    if problems:
        raise InvalidResources(problems)
    return resources


def duplicates(resources: Iterable[Resource]) -> list[Problem]:
    """Find resources of one kind and name, naming both places."""
    first: dict[str, Resource] = {}
    problems = []
    for resource in resources:
        other = first.setdefault(resource.id, resource)
        if other is not resource:
            message = f"is defined twice, first at {other.place}"
            problems.append(Problem(resource.place, "Duplicate", message, resource.id, "metadata.name"))
    return problems


def _documents(text: str, file: str) -> list[tuple[yaml.Node, object]]:
    try:
        _refuse_depth(text, file)
        loader = _Loader(text)
        documents: list[tuple[yaml.Node, object]] = []
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # noqa: S101 - check_node has said so
            _refuse_repeated_keys(node)
            aliases.refuse_excess(node)
            documents.append((node, loader.construct_document(node)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"is not valid YAML: {error.problem or error.context}"
        raise InvalidResources([Problem(Place(file, mark.line + 1 if mark else 1), "InvalidYAML", message)]) from None
    except (yaml.YAMLError, ValueError) as error:
        problem = Problem(Place(file, 1), "InvalidYAML", f"is not valid YAML: {type(error).__name__}")
        raise InvalidResources([problem]) from None
    return documents


def _refuse_depth(text: str, file: str) -> None:
    """Refuse nesting that no resource has: libyaml follows it down until its stack ends, and the process with it."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > aliases.MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 1
                message = "is not valid YAML: it is nested too deeply"
                raise InvalidResources([Problem(Place(file, line), "InvalidYAML", message)])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse_repeated_keys(root: yaml.Node) -> None:
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise yaml.MarkedYAMLError(problem="a key must be a string", problem_mark=key.start_mark)
                if key.value in keys:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
                keys.add(key.value)
                waiting.append(value)


def _take(
    content: object, file: str, node: yaml.Node | None, resources: list[Resource], problems: list[Problem]
) -> None:
    """Read one document into `resources`, or what is wrong with it into `problems`."""
    if content is None:
        return
    if not isinstance(content, Mapping):
        problems.append(Problem(_place(file, node, ()), "InvalidResource", "a resource is a mapping"))
        return
    kind = content.get("kind")
    if kind == "List" and isinstance(items := content.get("items"), list):
        for index, item in enumerate(items):
            _take(item, file, _below(node, ("items", index)), resources, problems)
    elif not isinstance(kind, str) or kind not in _KINDS:
        what = f"{kind} is not a kind known here" if isinstance(kind, str) else "is required"
        message = f"{what}; expected one of {', '.join(_KINDS)}"
        problems.append(Problem(_place(file, node, ("kind",)), "UnknownKind", message, field="kind"))
    else:
        _take_known(kind, content, file, node, resources, problems)


def _take_known(
    kind: str,
    content: Mapping[Any, Any],
    file: str,
    node: yaml.Node | None,
    resources: list[Resource],
    problems: list[Problem],
) -> None:
    written, resource = _KINDS[kind]
    subject = _subject(kind, content)
    if content.get("apiVersion") != resource.api_version:
        place = _place(file, node, ("apiVersion",))
        message = f"must be {resource.api_version}"
        problems.append(Problem(place, "InvalidResource", message, subject, "apiVersion"))
        return
    try:
        resources.append(_resource(written.model_validate(content), _place(file, node, ())))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems.extend(_problem(detail, file, node, subject) for detail in details)


def _resource(written: _Written, place: Place) -> Resource:
    metadata = written.metadata
    common: dict[str, Any] = {
        "name": metadata.name,
        "place": place,
        "generation": metadata.generation,
        "created_at_ms": metadata.created_at_ms or 0,
    }
    match written:
        case _UpstreamAccount():
            return UpstreamAccount(spec=written.spec, **common)
        case _Model():
            return Model(spec=written.spec, **common)
        case _Plan():
            return Plan(spec=written.spec, **common)
        case _APIKey():
            return APIKey(spec=written.spec, **common)
        case _Secret():
            return Secret(values=written.decoded(), **common)
    raise TypeError(type(written).__name__)


def _subject(kind: str, content: Mapping[Any, Any]) -> str:
    metadata = content.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{kind}/{name}" if isinstance(name, str) else kind


def _problem(detail: ErrorDetails, file: str, node: yaml.Node | None, subject: str) -> Problem:
    context = detail.get("ctx", {})
    path: Path = (*detail["loc"], *context.get("path", ()))
    # The key of a mapping that must not be there is no field of ours, but pydantic says so in a last word of its own.
    path = tuple(part for part in path if part != "[key]")
    place = _place(file, node, path)
    return Problem(place, "InvalidResource", _message(detail, context), subject, _field(path))


def _message(detail: ErrorDetails, context: Mapping[str, Any]) -> str:
    """Say it as a person would who has never heard of pydantic. No message holds the value."""
    match detail["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not a known field"
        case "literal_error":
            return f"must be {context['expected']}".replace("'", "")
        case "int_type" | "int_from_float":
            return "must be a whole number"
        case "string_type":
            return "must be a string (put it in quotes)"
        case "bool_type":
            return "must be true or false"
        case "list_type":
            return "must be a list"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must be a mapping of fields"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "too_short":
            return f"must have at least {context['min_length']}"
        case "too_long" | "string_too_long":
            return f"must have at most {context['max_length']}"
        case "string_too_short":
            return "must not be empty"
        case "string_pattern_mismatch":
            return PATTERNS[context["pattern"]]
        case _:
            return detail["msg"].removeprefix("Value error, ")


def _field(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _place(file: str, node: yaml.Node | None, path: Path) -> Place:
    """Where the value at a path stands, or where its nearest parent does when it is not there."""
    if node is None:
        return Place(file)
    line = node.start_mark.line
    for part in path:
        step = _step(node, part)
        if step is None:
            break
        line, node = step
    return Place(file, line + 1)


def _below(node: yaml.Node | None, path: Path) -> yaml.Node | None:
    for part in path:
        step = _step(node, part) if node is not None else None
        node = step[1] if step else None
    return node


def _step(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    """One step down: the line (from 0) of a mapping's key or a list's item, and its value."""
    if isinstance(node, yaml.MappingNode):
        # From the end, because keys that were merged in with << come first.
        for key, value in reversed(node.value):
            if key.value == part:
                return key.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None
