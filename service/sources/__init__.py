"""What appends to topics on behalf of the service: batches and watches."""
