"""What accounts speak: requests written, answers, streams and errors read, one module per wire format."""
