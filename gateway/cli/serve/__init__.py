"""Commands that run the gateway or check what it would run with."""
