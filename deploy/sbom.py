"""Make the image's list of parts, CycloneDX JSON, in the image's build stage, where cyclonedx is installed.

The Python packages are listed by cyclonedx; the interpreter and the base's Debian packages are put beside them.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

Component = dict[str, Any]


def debian_packages(status: str, distribution: str) -> list[Component]:
    """List the installed packages of a dpkg status file."""
    components = []
    for paragraph in status.split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines() if not line.startswith(" "))
        fields = {name: value.strip() for name, _, value in lines}
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
        # A package URL's version is percent-encoded but for the colon of an epoch.
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe=':')}?arch={architecture}"
        if distribution:
            purl += f"&distro={quote(distribution)}"
        components.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return components


def interpreter(debian: list[Component]) -> list[Component]:
    """Name the Python that runs everything, unless it is a Debian package and so in the list already."""
    short = "python" + ".".join(platform.python_version_tuple()[:2])
    if any(component["name"] == short for component in debian) and sys.base_prefix == "/usr":
        return []
    version = platform.python_version()
    purl = f"pkg:generic/python@{version}"
    return [{"type": "platform", "bom-ref": purl, "name": "python", "version": version, "purl": purl}]


def distribution() -> str:
    """Name the base's distribution as package URLs do: `debian-12`."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"{release['ID']}-{release['VERSION_ID']}" if "VERSION_ID" in release else release["ID"]


def merged(packages: dict[str, Any], others: list[Component], version: str) -> dict[str, Any]:
    """Return the whole document: what it describes, and all parts in a stable order."""
    image = {"type": "container", "bom-ref": "penstock-image", "name": "penstock", "version": version}
    components = sorted([*packages.get("components", []), *others], key=lambda part: part["bom-ref"])
    return {
        **packages,
        "metadata": {**packages.get("metadata", {}), "component": image},
        "components": components,
    }


def main() -> None:
    """Read the two lists, write the document; an invalid one ends the build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--dpkg-status", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    debian = debian_packages(arguments.dpkg_status.read_text(encoding="utf-8"), distribution())
    packages = json.loads(arguments.packages.read_text(encoding="utf-8"))
    text = json.dumps(merged(packages, [*interpreter(debian), *debian], arguments.version), indent=1) + "\n"
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SystemExit(f"the list of parts is no CycloneDX 1.6: {problem}")
    arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
