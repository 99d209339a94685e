"""Commands for owners of policies: test, compare, narrow."""
