"""The data path: reads a request once, has it judged, sends it on, streams the answer back.

Sockets live here; decisions do not. A request comes in through `listener`, is served by `handler` and leaves
through `upstream`; nothing but a `Permit` and a chosen key lets it.
"""
