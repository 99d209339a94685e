"""Decides: what a request is, who may make it, which key serves it, what crosses and what is refused.

Values come in and values go out. No sockets, files, clock or logging may come in here; a test holds that.
"""
