"""The tables of `tests.wire` against other proxies. `bench.wire_peers.__main__` runs it.

`peer` asks one proxy and judges what comes of a row, `setups` starts nginx, HAProxy and the gateway.
"""
