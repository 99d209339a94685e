"""Attacks against a real `serve`, each beside honest callers that are served as if nothing happened."""
