"""The command that looks for what is wrong around a gateway: files, listeners, the network, keys and limits."""
