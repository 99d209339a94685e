"""Stock clients against the gateway and the simulator."""
