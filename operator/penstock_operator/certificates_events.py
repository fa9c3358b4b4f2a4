"""What people are told, as Events on the Secrets, of authorities and certificates."""

from __future__ import annotations

from typing import Final

from penstock_operator.events import Event

_BOTH: Final = "The one before is believed until all certificates come from the new one."
_ELSEWHERE: Final = "Where certificates of another are in use, it is believed until all come from the new one."
_OF_AUTHORITIES: Final = {
    "absent": Event("Normal", "AuthorityMade", f"There was no authority: one was made. {_ELSEWHERE}"),
    "damaged": Event("Warning", "AuthorityMade", f"The authority could not be used: a new one was made. {_BOTH}"),
    "expired": Event("Warning", "AuthorityMade", "The authority is out of its time: a new one was made."),
    "asked": Event("Normal", "AuthorityMade", f"As asked, a new authority was made. {_BOTH}"),
    "due": Event("Normal", "AuthorityMade", f"The authority has come to an age: a new one was made. {_BOTH}"),
    "dropped": Event("Warning", "AuthorityDropped", "An authority that cannot be used is not believed any longer."),
    "exchanged": Event(
        "Normal", "AuthorityExchanged", "All certificates come from the new authority, and it alone is believed."
    ),
}
_WHY: Final = {
    "absent": "there was none",
    "damaged": "the one before could not be used",
    "dates": "the one before is out of its time",
    "names": "the one before names another component or domain",
    "authority": "the one before comes from an authority that is not believed",
    "asked": "somebody asked for it",
    "exchange": "authorities are exchanged",
    "due": "two thirds of the life of the one before are over",
}
_BUNDLE: Final = Event(
    "Normal", "AuthoritiesWritten", "The authorities to believe were written; the certificate stays."
)


def of_authority(reason: str) -> Event:
    """Return what a write of the CA Secret means."""
    return _OF_AUTHORITIES[reason]


def of_certificate(reason: str) -> Event:
    """Return what a write of a component's Secret means."""
    return Event("Normal", "CertificateIssued", f"Issued, because {_WHY[reason]}.") if reason in _WHY else _BUNDLE


def of_foreign(effect: str) -> Event:
    """Return what a Secret that is not ours means."""
    return Event("Warning", "SecretNotOurs", f"The operator would write here, but its labels are not there: {effect}.")
