"""`penstock up`: a whole gateway on this machine."""


def up() -> None:
    """Run a gateway on this machine."""
