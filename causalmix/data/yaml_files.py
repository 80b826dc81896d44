"""Settings in YAML files that users write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Reads what YAML 1.2 says where 1.1, PyYAML's, surprises: 1e-4 is a number, no is a word.

    A name may stand once only.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = set()
        for key, _ in node.value:
            if key.value in found:
                line = key.start_mark.line + 1
                raise ValueError(f"{key.value!r} stands there twice, again in line {line}")
            found.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [each for each in known if first in "tTfF" or not each[0].endswith(":bool")]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d{1,9}[eE][-+]?\d{1,3}$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    object
        What it holds; None of an empty one.

    Raises
    ------
    OSError, ValueError, yaml.YAMLError
        If it cannot be read, a name stands twice, or it is no YAML.
    """
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)
