"""Who is calling. What a request and its connection show comes in, the caller's name goes out.

One module and one row in `kinds` for each kind of credential: its place in a policy and in ``gateway.yaml``, how it is
verified, and the words for it. Nothing here knows what a caller may do, or holds an upstream key. An issuer is asked
for its keys; nothing else leaves this room.
"""
