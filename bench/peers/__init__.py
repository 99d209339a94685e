"""What the gateway costs beside other proxies. `bench.peers.__main__` runs it; the other files are its configurations.

`setups` says how each peer is started, `traffic` makes requests and answers, `stage` runs peers and measures them,
`report` writes tables and the plot.
"""
