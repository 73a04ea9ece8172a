"""What an operator says of pipelines."""

from dataclasses import dataclass

__all__ = ["PipelineOptions"]


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """Sizes in bytes, times in seconds."""

    file: str | None = None
    """Where they are declared; without it there is the one that is shipped."""
    time: float = 60.0
    """For one stage of one item."""
    process_memory: int = 1 << 30
    """Of one worker process."""
    processes: int = 1000
    """The most processes of one pipeline, however many workers its stages have."""
    cores: int = 1
    memory: int = 256 << 20
    """Of all items that are under way."""
    runs: int = 32
    """Clients at once."""
