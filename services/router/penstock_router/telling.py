"""What edges that watch are told: everything, or what is not as they were last told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.router.v1 import router_pb2
from penstock_router import messages
from penstock_routing.shares import NOTHING, Offer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_router.desired import Desired
    from penstock_router.lending import Lending
    from penstock_router.messages import Word
    from penstock_router.watching import Watcher
    from penstock_routing import Policy
    from penstock_routing.health import Health, Key


class Telling:
    """The words for each condition, and the updates made of them and of shares."""

    def __init__(self, lending: Lending) -> None:
        self.words: dict[Key, Word] = {}
        """What edges were last told of each condition."""
        self._lending = lending

    def find_words(self, health: Health, desired: Desired, policy: Policy, now: float) -> set[Key]:
        """Find words for all conditions of accounts that are wanted; returns those that are not as last told."""
        words: dict[Key, Word] = {}
        for key, condition in health.conditions.items():
            said = messages.word(condition, policy, now)
            if said is not None and key.account in desired.accounts:
                words[key] = said
        before, self.words = self.words, words
        return {key for key in words.keys() | before.keys() if words.get(key) != before.get(key)}

    def snapshot(self, watcher: Watcher, desired: Desired, now: float) -> router_pb2.Snapshot:
        """Return everything for one edge session."""
        offers = self._lending.offers(watcher.session)
        watcher.sent_shares = {account: offer.version for account, offer in offers.items()}
        # Limited accounts of which this session has no part yet: a share of nothing.
        missing = {name for name in desired.limits if desired.limited(name)} - offers.keys()
        snapshot = router_pb2.Snapshot(
            cooldowns=[messages.cooldown_message(key, said, now) for key, said in self.words.items()],
            shares=_shares({**offers, **{name: Offer(0, NOTHING) for name in missing}}),
        )
        snapshot.MergeFrom(desired.message)
        return snapshot

    def updates(self, watcher: Watcher, desired: Desired, now: float) -> Iterable[router_pb2.Update]:
        """Return what a watcher has not been told yet, and count it as told."""
        if watcher.anew:
            watcher.anew = False
            watcher.keys.clear()
            watcher.accounts.clear()
            yield router_pb2.Update(seq=_next(watcher), snapshot=self.snapshot(watcher, desired, now))
            return
        if watcher.keys:
            keys, watcher.keys = watcher.keys, set()
            yield router_pb2.Update(seq=_next(watcher), cooldowns=self._change(keys, now))
        accounts, watcher.accounts = watcher.accounts, set()
        offers = {
            account: offer
            for account, offer in self._lending.offers(watcher.session, accounts).items()
            if watcher.sent_shares.get(account) != offer.version
        }
        if offers:
            watcher.sent_shares.update({account: offer.version for account, offer in offers.items()})
            yield router_pb2.Update(seq=_next(watcher), shares=router_pb2.ShareChange(shares=_shares(offers)))

    def _change(self, keys: set[Key], now: float) -> router_pb2.CooldownChange:
        return router_pb2.CooldownChange(
            set=[messages.cooldown_message(key, self.words[key], now) for key in keys if key in self.words],
            cleared=[messages.cooldown_message(key, None, now) for key in keys if key not in self.words],
        )


def _shares(offers: dict[str, Offer]) -> list[router_pb2.AccountShare]:
    return [
        router_pb2.AccountShare(account=account, version=offer.version, share=messages.share_message(offer.share))
        for account, offer in offers.items()
    ]


def _next(watcher: Watcher) -> int:
    watcher.seq += 1
    return watcher.seq
