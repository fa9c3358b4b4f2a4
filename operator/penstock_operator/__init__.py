"""The operator: custom resources into catalogs, what is observed into their status.

Its modules, from the rim to the middle:

- `main`, `handlers`: the process, and kopf, which does nothing but say that something changed.
- `cluster`: the Kubernetes API. `observing`, `probing`: routers and auths. All three are handed in as Protocols.
- `turns`: the loop. Each turn gathers, decides, publishes and writes down, in this order; any turn may be the first.
- `seen`: all objects as last seen. `reading`: objects into typed resources, each fault its own.
- `issuing`: what becomes of one `APIKey`'s Secret (pure): `decide(resource, secret, ...) -> Decision`.
- `credentials`: which credential of an account is in force (pure). `programmed`: who has loaded what (pure).
- `accounts`, `models`, `plans`, `api_keys`: the policy chains: facts into conditions (pure).
- `publishing`, `statuses`, `events`: what is written, and only when it differs.
- `certificates`: the authority and everybody's certificate, before everything else.
"""
