"""The report's words that are no figures."""

HEAD = """\
# Routing, simulated

Routing policies side by side in virtual time, against models of upstream accounts and of clients: `make bench-routing`
writes this page and its plots ({seed} is the seed of this one; `SEED=n make bench-routing` takes another, the same seed
gives the same figures). Ours is the code that the processes run: `penstock_routing` (pool, health, retry rules, retry
budget, waiting room), the router's lending and its words to the edges, three edges, with the delays of reports and
updates. What the models are and where they come from is written in `benchmarks/routing/accounts` and `clients`; what a
policy may see of them, in `sight.py`: what a gateway reads off the wire, and nothing else.

`tests/dataplane/test_routing_agrees.py` plays two small worlds with real processes and holds this to them: in an outage
of one of four, one request in error more or less, cache hits within 9 points, the failing account's part within 7; at
overload, errors and capacity used within 3 points, fairness within 5. (Measured on two cores with a load of 18: none,
7, 4; 0.5, 0.7, 0.)
"""

FINDINGS = """\
## What it shows

- **With cached input free of the input limit, stickiness is capacity, not only money.** A conversation's next turn costs
  about two thousand counted tokens where its prompt is cached and forty thousand elsewhere. Accounts that are loaded to
  90 % with warm prompts have no room for cold ones: spread the conversations (round robin, random, least busy) and the
  same clients need several times what there is. Such policies do not serve nine tenths of it a little worse, they fall
  to a fifth of the capacity and stay there.
- **It is a state that does not end by itself.** Refused turns come back when the cache has forgotten them, so every
  request is a large one. Whatever pushes many conversations off their accounts at once (an outage, a storm of 529s, an
  overload met by moving on) can push a gateway into it. What keeps out of it, or leads out: wait for the account that
  has the prompt rather than pay for a cold one, and refuse there when there is no room.
- **A throttle is no illness.** A bucket that refills continuously has room again in a second for a small request; a
  cooldown for the longest Retry-After of a large one, then a trial and a ramp, leaves capacity unused.
- **After ten minutes of outage ours comes back in order and at once.** Cooldowns double while an account stays down, but
  a probe that costs nothing sees it return: its trial and its ramp come within twenty seconds, and the work offered is
  served within a minute, what had piled up beside it. For some minutes more the input budget of prompts that have to be
  read anew limits how much of that goes through. (When time alone ended cooldowns this took seven minutes.)
- **A refusal for the number of requests at once is no illness either.** In the scenario of unequal accounts the largest
  may hold 90 requests like all others, which runs out long before their tokens do. Such a 429 names no time, so it made
  an account cool for 5 s and more, with trial and ramp; each time some eighty conversations lost their home, were read
  anew elsewhere and drained the input of all others: 6.7 % errors, while in the sum nothing was short. Now a 429 that
  names no time, while something is left of every limit that its headers tell, shows how many an account takes at once;
  conversations wait for a place there, and nobody moves: one error in 50,000 (seed 2: one), cache 2.3 points below
  perfect instead of 5.8.
- **A storm: much of its errors could be avoided, and is.** When all accounts answer six in ten requests with 529, each
  cools after its first, and nobody was left: 53.4 % of all requests failed, 19.9 % of first tries. That was the gateway's
  doing: with no cooldowns at all for 529 it is 16.6 % and 8.7 %. Now accounts that cool are asked nevertheless where most
  of a tier of four or more do, conversations at their homes first, as long as a fifth of that is answered (else one
  request at a time, so that a provider that is down is left in peace): 27.2 % and 14.6 % (seed 2: 56.4 and 28.4 % became
  32.9 and 21.7 %). The way from there to 16.6 % is not won yet. Some of the rest cannot be avoided: four attempts leave
  0.6⁴ = 13 % of what is asked during the storm, and prompts that were moved have to be read anew.
- **Retries by clients multiply an overload.** In the scenarios with clients that retry, one turn is asked for up to a
  dozen times; the share of first tries says more about them than the share of all requests.
"""

DEFINITIONS = """\
## What the words mean here

- **True capacity**: the largest steady load that accounts could serve if every conversation stayed with one account and
  no refill of a bucket were lost, counted in what runs out first (output tokens for Anthropic's counting). "90 % of true
  capacity with one of ten accounts failing" is nine tenths of what the other nine can carry, at every moment;
  what a slow or half-failing account still serves comes on top. A faultless tenth is not counted for the accounts that
  return, either: the next one fails in the same second.
- **Error**: a request that the gateway answered with an error, whatever its client then does; "of first tries" leaves
  the retries of clients out. Answers that break off after their output has begun ("broken off") can be mended by no
  gateway and are counted apart.
- **Added wait**: from a request's arrival to the first token of its answer (streams) or what would be that (unary),
  less what this answer would have taken on a healthy account with a warm cache. A cold prompt, a slow account, a failed
  attempt and a place in the queue all count.
- **Cache hits**: the part of all prompt tokens of served requests that was read from the cache. **Perfect stickiness**:
  the same for the same requests if each conversation had always met the same account, with the same five minutes of
  memory. Points are percentage points between the two.
- **Saved by the cache**: what the same answers would have cost without any cache, less what they cost, cache writes
  included (3 $ and 15 $ a million tokens).
- **Capacity used**: scarce units of whole answers, by what the accounts' buckets refilled in the time and what they had
  in store at its beginning, less what they still had at its end.
- **Fair share**: what was served in all of what was asked for in one minute, divided so that no project gets more than it
  asked for in it, and those that get less than that all get the same (max-min). **Unfairness**: how far a project's minutes
  were from their shares, above and below added up, by the sum of its shares; of the project with which that is largest.
  Minutes whose answers may not all have ended are left out. This used to be one share of the whole quarter of an hour,
  which was wrong: capacity cannot be kept from one minute for another. The second largest project asks for little more
  than an even share on the average, so in many minutes for less; it got all of that, others rightly got the rest, and
  over the whole time it seemed to have been given too little (7.3 % with seed 6, where minute by minute nobody is 2 % away).
  Only a gateway that owed it minutes in which it asked for nothing could have pleased that measure, at others' expense.
- **In use at the first refusal**: the part of capacity used in the minute before the first error. Buckets hold a
  minute's reserve, so it can be above 100 %.
- **Herd**: the most requests that one returning account got in a second of its first minute, by its usual number.
- **Second collapse**: told by the work that is served, against what is offered (70 % of capacity): the least in any minute
  later than one after the outage's end, and how long it took until 95 % of it was served for good. **Worst
  30 s after** is the largest share of requests, retries included, that were answered with an error in half a minute.
"""

HEDGING = """\
## Hedging, which is not built

A stream that has no first byte by the p99 of its model (as this edge saw the last two thousand) is asked for once more,
from another account that has room now, at most for one request in twenty; whichever begins first is used. The prompt of
the other is paid for. "That blames": an attempt that was overtaken counts as a failure of its account, as a 500 does.
`python -m benchmarks.routing.hedging` makes these tables.

- It costs 3 to 6 % of all money for one request in a hundred, for a second attempt is cold where it goes; and as p99 is
  what it is, there is one in a hundred on the best of days as well.
- A slow account is not helped by it: the slow ones among its answers soon *are* the p99, so seconds pass before a second
  attempt, and p99 falls by 7 to 20 % only. Behind a hanging account p99.9 falls by a third, behind a half-failing one by
  a sixth. (A hanging account here resets what is running when it begins to hang, which the health rules see at once;
  where nothing is reset, second attempts would gain more.) The longest waits stay: a first attempt that breaks off, a
  budget that is spent, or nobody with room.
- What does help with a slow account is to know that it is slow: where second attempts only serve to tell, p99 falls to a
  third or a fifth. Comparing accounts by their time to the first byte would tell the same without paying for anything.
- None of these saves an error. One that blames makes some, where there is no room to move conversations to.
"""

POLICIES_SAY = """\
## The policies

All others make up to three attempts on different accounts, see every request as one process would, and may hold a
request for as long as ours (two seconds) when no account is left, with pauses of 0.5 s doubling to 8 s.

- **penstock**: as shipped, with default settings. No limits of accounts are told to it except where that is said.
- **round robin**: one account after another; it heeds Retry-After.
- **random with cooldown**: LiteLLM's default (simple-shuffle, 1.109): any account that does not cool. A 429 cools for
  Retry-After or 5 s, a 401 or 404 for 5 s, more than half failures among at least five in a minute for 5 s.
- **least busy**: the fewest requests under way; cooldowns as above.
- **sticky by hash**: by session, or by the prompt's beginning, with no bound on load; cooldowns as above.
- **lowest latency**: the shortest mean time to first token over ten answers; cooldowns as above.
"""
