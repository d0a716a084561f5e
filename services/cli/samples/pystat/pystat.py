import json
import re
import statistics
import sys

numbers = [float(word) for word in re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", sys.stdin.read())]
if not numbers:
    sys.exit("there is no number in the input")
json.dump(
    {
        "count": len(numbers),
        "sum": sum(numbers),
        "mean": statistics.fmean(numbers),
        "median": statistics.median(numbers),
        "stdev": statistics.stdev(numbers) if len(numbers) > 1 else 0,
        "min": min(numbers),
        "max": max(numbers),
    },
    sys.stdout,
)
print()
