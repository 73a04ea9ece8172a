"""All that comes in: WebSocket, HTTP, and who may."""
