"""A seeded simulator of agents that share one backend, and the policies to compare with."""
