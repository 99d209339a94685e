"""Rate budgets: what a key may still spend, whose share it is, and who waits for it."""
