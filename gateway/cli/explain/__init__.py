"""The command that explains what the gateway would answer to a request."""
