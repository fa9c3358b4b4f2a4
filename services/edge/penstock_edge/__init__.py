"""The edge: terminates HTTP, relays to upstream accounts, meters every request."""

from penstock_chassis.absent import later

# protobuf in Python, which its generated code imports also where all of it is in C; before the first of that.
later("google.protobuf.internal.python_message")
