"""What keeps the service well and seen: logs, metrics, overload, supervision."""
