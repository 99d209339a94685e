"""Rate budgets: what remains of a key's rate limit, how callers share it, and who waits for it."""
