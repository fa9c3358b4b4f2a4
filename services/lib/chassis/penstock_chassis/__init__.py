"""How a process lives: settings, logs, telemetry, drain and gRPC plumbing."""
