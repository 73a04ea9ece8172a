"""HTTP/1.1 as a client that trusts no server: one request and one answer at a time, over kept connections."""
