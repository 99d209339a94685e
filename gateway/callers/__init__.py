"""Who is asking. A credential comes in, the caller's name goes out; policies and keys stay out of here."""
