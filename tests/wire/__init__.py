"""Raw bytes in, exact bytes out: attacks on the framing by callers and upstreams."""
