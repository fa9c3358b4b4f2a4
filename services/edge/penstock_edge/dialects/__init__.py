"""What clients speak: requests read, answers and errors written, one module per wire format."""
