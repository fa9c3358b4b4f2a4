"""OpenAI's wire formats: Chat Completions, Responses, Embeddings and models."""
