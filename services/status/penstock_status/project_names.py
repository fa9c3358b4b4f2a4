"""What a project may be called."""

PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
WORDS = "a name has up to 63 letters, digits, '.', '_' and '-', the first of them a letter or digit"
