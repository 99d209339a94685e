"""What tests share: each module has one purpose and starts, records or builds one kind of thing."""
