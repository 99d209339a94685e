"""Who is asking, and how often. What a request and its connection show comes in, the caller's name goes out.

Nothing here knows what a caller may do, or holds an upstream key; the outside is asked for an issuer's keys, and for
what other replicas have counted, alone.
"""
