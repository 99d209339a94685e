"""Who is calling. Comes in: the credentials of a request and its connection. Goes out: the name of the caller.

Each kind of credential is one module and one row in `kinds`: its key in a policy and in ``gateway.yaml``, how it is
verified, and the words for it. Nothing here knows what a caller may do, or holds an upstream key. The only questions to
the network are those to an issuer for its keys.
"""
