"""Tells: what happened to each request, as a log line, as metrics, as spans and as what each caller used.

One `Record` a request comes in, with events and facts about keys. Nothing here decides. No header value, query, body or
secret may come in.
"""
