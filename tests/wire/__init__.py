"""Raw bytes in, exact bytes out: what no caller and no upstream can make of the gateway."""
