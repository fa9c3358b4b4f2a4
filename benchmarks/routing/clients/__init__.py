"""Models of clients: agents with growing prompts, bursts, batches, and how they take a refusal."""
