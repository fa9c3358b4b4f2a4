"""Desired state: the types, the compiler, its sources and the built-in models."""
