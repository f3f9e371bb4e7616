"""The load: definitions that together have every node type, each with what it gives, worked out beside the engine."""
