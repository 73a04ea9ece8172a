"""The WebSocket endpoint: frames, connections and how they end."""
