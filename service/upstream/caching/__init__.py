"""What may be kept and used again (RFC 9111)."""
