"""The first field of each line, counted by one process with Counter; prints the most frequent."""

import sys
from collections import Counter

with open(sys.argv[1], "rb") as lines:
    counts = Counter(line.split(None, 1)[0] for line in lines)
for key, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:20]:
    print(count, key.decode())
