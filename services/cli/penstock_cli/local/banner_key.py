"""The key that the banner shows when the resources declare none that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_catalog import api_key
from penstock_cli.data_dir import write_private
from penstock_cli.errors import NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from penstock_cli.admin import Admin
    from penstock_cli.local.sample import Sample

PROJECT = "local"
CREDIT_MICRO = 1_000_000
"""What the banner's project is given where every plan wants credit: one USD."""


def banner_key(admin: Admin, kept: Path, sample: Sample) -> str:
    """Return the key kept from an earlier start if it still works, else a new one. Raises CommandError."""
    text = _kept(admin, kept, sample)
    if text is None:
        issued = admin.post("keys", project=PROJECT, plan=sample.plan, name="banner")
        text = str(issued["key"])
        write_private(kept, text + "\n")
    if sample.needs_credit:
        admin.post(
            "credit", project=PROJECT, amount_micro=CREDIT_MICRO, note="for the first request", idempotency_key="banner"
        )
    return text


def _kept(admin: Admin, kept: Path, sample: Sample) -> str | None:
    try:
        text = kept.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    if not api_key.well_formed(text):
        return None
    try:
        key = admin.get(f"keys/{api_key.public_id(text)}")
    except NotFoundError:
        return None
    return text if key["state"] == "Active" and key["plan"] == sample.plan else None
