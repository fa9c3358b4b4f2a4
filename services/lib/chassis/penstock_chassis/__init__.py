"""How a process lives: settings, logs, probes, drain and gRPC plumbing."""
