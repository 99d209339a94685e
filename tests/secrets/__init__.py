"""Sentinel keys and tokens, a gateway that is treated badly, and a hunt for them in everything it leaves behind."""
