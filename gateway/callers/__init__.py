"""Who is asking. What a request and its connection show comes in, the caller's name goes out.

Nothing here knows what a caller may do, or holds an upstream key; the outside is asked for an issuer's keys alone.
"""
