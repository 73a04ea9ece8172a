"""What ``--data`` keeps through kills, and what it costs: the section "Kept on disk" of docs/performance.md."""
