"""What aliases make of a YAML document: a few lines can stand for more than any machine holds, or for themselves."""

import yaml

MAX_DEPTH = 64
"""Deeper than any resource is nested."""
MAX_NODES = 2_000_000
"""More than any file within the limit of its size has, with every alias written out."""

_Extent = tuple[int, int]
"""Of a node with its aliases written out: how many nodes it is, and how many collections stand in each other."""


def refuse_excess(root: yaml.Node) -> None:
    """Raise `MarkedYAMLError` when a document, with its aliases written out, is too deep, too large or without end."""
    _extent(root, 1, {})


def _extent(node: yaml.Node, depth: int, known: dict[int, _Extent]) -> _Extent:
    """Measure a node at a depth. One that stands in itself is met deeper and deeper, and so is refused too."""
    if not isinstance(node, yaml.CollectionNode):
        return 1, 0
    nodes, height = known.get(id(node), (1, 1))
    if depth + height - 1 > MAX_DEPTH:
        raise yaml.MarkedYAMLError(problem="it is nested too deeply", problem_mark=node.start_mark)
    if id(node) not in known:
        for child in _children(node):
            more, below = _extent(child, depth + 1, known)
            nodes, height = nodes + more, max(height, below + 1)
        known[id(node)] = nodes, height
    if nodes > MAX_NODES:
        raise yaml.MarkedYAMLError(problem="its aliases stand for too much", problem_mark=node.start_mark)
    return nodes, height


def _children(node: yaml.CollectionNode) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)
