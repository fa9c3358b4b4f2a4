"""Google's wire format: the Gemini API with generateContent, countTokens, embeddings and models."""
