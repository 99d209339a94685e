"""How often a key and a caller may be used: rate budgets, fair shares of them, and a caller's own limits.

A request's caller, lane and key come in; a lease or a refusal goes out. Nothing here sends a request or judges one.
"""
