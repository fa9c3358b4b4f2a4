"""What becomes of one `APIKey`'s Secret. Pure: the objects as last read and the time in, one step out.

A decision has at most one write. Do it, `KeySecrets.take` what the API answered (read the Secret anew when the answer
was lost or was a conflict), and decide again until nothing is to be written: so every moment between two steps is one
that a restarted operator can go on from.

What is published (`issued`) is what stands in a Secret of this APIKey as the API gave it, never what is to be written:

- no Secret of that name: a new key is written; or, when the APIKey has one elsewhere, that one moves here. It works
  from there meanwhile, and its old Secret is deleted when it stands in the new one.
- somebody else's Secret: it is left alone, and `SecretConflict` says so.
- one that is left over from a deleted APIKey of this name: it is deleted, and a new key made. One that was kept on
  purpose (`--cascade=orphan`), or copied from another cluster, is taken over with its key.
- its own with a text that is no key: it is left alone, and `SecretInvalid` says so; deleting it makes a new key.
- its own: a rotation that is asked for is done. At most two texts count: the one in force, and for a time the one
  before. Another rotation within that time ends the oldest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from penstock_catalog.compiler import IssuedKey, KeyFailure
from penstock_operator import key_secrets
from penstock_operator.key_secrets import DATA_KEY, LONGEST_OVERLAP, OVERLAP, Standing, end_of, previous_of, time_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_catalog.api_key import ApiKey
    from penstock_catalog.documents import PreviousKey
    from penstock_operator.cluster import Object
    from penstock_operator.key_secrets import Held, Holder, Known

_USUAL_OVERLAP: Final = timedelta(days=1)
_NOT_YET: Final = KeyFailure("NotIssued", "its key is being made")


@dataclass(frozen=True, slots=True)
class Create:
    """Create this Secret. When there is one of its name by now, read that one."""

    name: str
    body: Object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge this into a Secret; its uid and version are in it, so that it fits the Secret that was read only."""

    name: str
    body: Object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a Secret, if it is still the one with this uid."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """What a person should hear of, once the write is done."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be published now, and what to write.

    `key_prefix` and `issued_time` (RFC 3339) are for the status, "" while there is no key. `next_check` is when time
    alone changes the decision. `notice` is what people should know of a key that works: a rotation that cannot be done.
    """

    issued: IssuedKey | KeyFailure
    write: Create | Patch | Delete | None = None
    events: tuple[KeyEvent, ...] = ()
    key_prefix: str = ""
    issued_time: str = ""
    next_check: datetime | None = None
    notice: str = ""


def decide(
    holder: Holder,
    target: Held | None,
    others: tuple[Held, ...],
    *,
    release: str,
    now: datetime,
    make_key: Callable[[], ApiKey],
) -> Decision:
    """Decide one step. `target` is the Secret that the APIKey names, `others` are more that it owns (`KeySecrets.of`).

    `now` has a time zone; `make_key` is asked only for a key that is to be written.
    """
    if holder.deleting:
        return Decision(KeyFailure("Deleting", "it is being deleted"))
    return _Issuing(holder, target, others, release, now, make_key).decide()


class _Issuing:
    """One decision."""

    def __init__(
        self,
        holder: Holder,
        target: Held | None,
        others: tuple[Held, ...],
        release: str,
        now: datetime,
        make_key: Callable[[], ApiKey],
    ) -> None:
        self._holder = holder
        self._target = target
        # What somebody else tied to this APIKey, to be removed with it, is none of ours.
        self._others = [each for each in others if each.noted_for == holder.name and not each.terminating]
        self._release = release
        self._now = now
        self._make_key = make_key

    def decide(self) -> Decision:
        target, name = self._target, self._holder.secret_name
        if key_secrets.is_reserved(name, self._release):
            return self._elsewhere("SecretConflict", f"Secret {name} is Penstock's own; choose another secretName")
        if target is None:
            return self._create()
        if target.terminating:
            return self._elsewhere("SecretTerminating", f"Secret {name} is being deleted")
        match key_secrets.standing(target, self._holder):
            case Standing.OWN:
                return self._own(target)
            case Standing.ORPHAN if target.key is not None and self._source() is None:
                return self._adopt(target, target.key)
            case Standing.FORMER:
                return replace(self._elsewhere(_NOT_YET.reason, _NOT_YET.message), write=Delete(name, target.uid))
        return self._elsewhere(
            "SecretConflict", f"Secret {name} is not this APIKey's; remove it, or choose another secretName"
        )

    def _create(self) -> Decision:
        """Make the Secret: with the key that stands elsewhere, else with a new one."""
        holder, source = self._holder, self._source()
        if source is not None and source.key is not None:
            issued = key_secrets.moment_of(source.issued_time) or self._now
            previous = self._counting(source)
            body = key_secrets.new_secret(holder, self._release, source.text, issued, previous, source.rotated)
            event = KeyEvent(
                "Normal", "KeyMoved", f"Key {source.key.prefix} moves from Secret {source.name} to {holder.secret_name}"
            )
            return replace(self._published(source, source.key), write=Create(holder.secret_name, body), events=(event,))
        made = self._make_key()
        body = key_secrets.new_secret(holder, self._release, made.text, self._now, None, holder.rotate)
        event = KeyEvent("Normal", "KeyIssued", f"Key {made.shown} is in Secret {holder.secret_name}")
        if holder.shown_before:
            message = (
                f"Secret {holder.secret_name} was gone, and key {holder.shown_before} with it; {made.shown} is new"
            )
            event = KeyEvent("Warning", "KeyReissued", message)
        return Decision(_NOT_YET, Create(holder.secret_name, body), (event,))

    def _own(self, target: Held) -> Decision:
        """Bring the Secret into order: first its notes, then what has been left behind, then a rotation."""
        if target.key is None:
            return self._elsewhere(
                "SecretInvalid",
                f"Secret {target.name} holds no key under {DATA_KEY}; delete the Secret to have a new key",
            )
        decision = self._published(target, target.key)
        if target.key != target.noted or target.noted_for != self._holder.name:
            return self._note(decision, target, target.key)
        if self._others:
            left = self._others[0]
            return replace(decision, write=Delete(left.name, left.uid))
        if self._holder.rotate and self._holder.rotate != target.rotated:
            return self._rotate(decision, target, target.key)
        return decision

    def _note(self, decision: Decision, target: Held, key: Known) -> Decision:
        """Write down what stands there: somebody has changed the text, or the notes."""
        replaced = bool(target.noted.digest) and target.noted.digest != key.digest
        issued = time_text(self._now) if replaced else target.issued_time or time_text(self._now)
        events: tuple[KeyEvent, ...] = ()
        if replaced:
            was = target.noted.prefix or "another"
            message = f"Somebody wrote {key.prefix} to Secret {target.name}; it is in force, and {was} is not any more"
            events = (KeyEvent("Warning", "KeyReplaced", message),)
        patch = key_secrets.noted_patch(target, self._holder, issued)
        return replace(decision, write=Patch(target.name, patch), events=events)

    def _adopt(self, target: Held, key: Known) -> Decision:
        patch = key_secrets.adopted_patch(target, self._holder, self._release)
        message = f"Secret {target.name} was kept from an earlier APIKey of this name, and its key {key.prefix} goes on"
        return Decision(_NOT_YET, Patch(target.name, patch), (KeyEvent("Normal", "KeyAdopted", message),))

    def _rotate(self, decision: Decision, target: Held, key: Known) -> Decision:
        overlap = self._overlap()
        if overlap is None:
            most = int(LONGEST_OVERLAP.total_seconds())
            return replace(decision, notice=f"not rotated: {OVERLAP} is 0 to {most} seconds")
        if target.immutable:
            return replace(decision, notice=f"not rotated: Secret {target.name} is immutable")
        made = self._make_key()
        previous = previous_of(key, self._now + overlap) if overlap else None
        patch = key_secrets.rotated_patch(target, made.text, self._now, previous, self._holder.rotate)
        goes_on = f"goes on until {time_text(end_of(previous))}" if previous else "has ended"
        message = f"Key {made.shown} is in Secret {target.name}; {key.prefix} {goes_on}"
        oldest = self._counting(target)
        if oldest is not None:
            message += f", and {oldest.prefix} has ended before its time"
        event = KeyEvent("Normal", "KeyRotated", message)
        return replace(decision, write=Patch(target.name, patch), events=(event,))

    def _overlap(self) -> timedelta | None:
        """Return for how long a replaced key goes on; None when what is written makes no sense."""
        written = self._holder.overlap
        if written and not (written.isascii() and written.isdecimal() and len(written) < 10):
            return None
        overlap = timedelta(seconds=int(written)) if written else _USUAL_OVERLAP
        if overlap > LONGEST_OVERLAP:
            return None
        # A key that is refused must not come back with the next change of mode.
        return timedelta() if self._holder.revoked else overlap

    def _elsewhere(self, reason: str, message: str) -> Decision:
        """Say what is wrong with the Secret that is named. A key that stands in another one works on from there."""
        failure, source = KeyFailure(reason, message), self._source()
        if source is None or source.key is None:
            return Decision(failure)
        return self._published(source, source.key, failure)

    def _source(self) -> Held | None:
        """Return the Secret that holds this APIKey's key elsewhere; of several, the one of the newest key."""
        sound = [each for each in self._others if each.key is not None]
        return max(sound, key=lambda each: (each.issued_time, each.name), default=None)

    def _published(self, held: Held, key: Known, failure: KeyFailure | None = None) -> Decision:
        previous = self._counting(held)
        return Decision(
            IssuedKey(key.id, key.prefix, key.digest, previous, failure),
            key_prefix=key.prefix,
            issued_time=held.issued_time,
            next_check=end_of(previous) if previous is not None else None,
        )

    def _counting(self, held: Held) -> PreviousKey | None:
        """Return the replaced key as long as it counts. A time that no rotation gives has been tampered with."""
        previous = held.previous
        if previous is None or held.key is None or previous.digest == held.key.digest:
            return None
        end = end_of(previous)
        return previous if self._now < end <= self._now + LONGEST_OVERLAP + timedelta(seconds=1) else None
