"""Reading results: lines of JSON, by scenario and client, in medians with their spread; and what clients are called."""
import json, pathlib, statistics

HERE = pathlib.Path(__file__).resolve().parent

# In the order in which they stand everywhere, whatever their figures, and as they are called.
NAMES = {
    "limit": "limit", "ottla": "Ottla", "ottla-multi-thread": "Ottla, multi-thread", "franz-pools": "franz-go, pools", "franz": "franz-go",
    "rdkafka-batch": "librdkafka, batch", "rdkafka": "librdkafka, poll", "krafka": "krafka", "rskafka": "rskafka",
    "sarama": "sarama", "java": "Java",
}

SCENARIOS = {
    "consume-a": "a: 100 B", "consume-b": "b: 1 KiB", "consume-c": "c: 100 B, lz4", "consume-d": "d: 100 B, zstd",
    "consume-e": "e: 10 B", "consume-f": "f: 100 B, 600 partitions", "group-a": "group, a", "group-c": "group, c",
}


def is_ours(name):
    """Whether a client is Ottla, in one way or another."""
    return name.startswith("ottla")


def called(name):
    """What a client is called."""
    return NAMES.get(name, name)


def in_order(names):
    """Clients in their order; those that are not known last, by name."""
    order = list(NAMES)
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))


def read(name):
    """The lines of a file of results that succeeded, and how many did not; nothing where there is no such file."""
    path = HERE / "results" / f"{name}.jsonl"
    if not path.exists():
        return [], 0
    lines = [json.loads(line) for line in path.read_text().splitlines() if line]
    good = [line for line in lines if line["rc"] == 0 and line["result"]]
    return good, len(lines) - len(good)


def grouped(lines, *keys):
    """The lines by the values of these keys."""
    groups = {}
    for line in lines:
        groups.setdefault(tuple(line.get(key) for key in keys), []).append(line)
    return groups


class Figure:
    """The median of what was measured several times, and the least and the most."""

    def __init__(self, values):
        values = sorted(values)
        self.median, self.least, self.most, self.times = statistics.median(values), values[0], values[-1], len(values)

    def spread(self):
        """(most - least) / median."""
        return (self.most - self.least) / self.median if self.median else 0.0


def figure(lines, measure):
    """The figure of what `measure` says of each line."""
    return Figure([measure(line) for line in lines])


def cpu_per_million(line):
    """Processor seconds, user and system, for a million messages."""
    result = line["result"]
    return (result["cpu_user"] + result["cpu_sys"]) / result["messages"] * 1e6


def cpu_per_record_from_first(line):
    """Processor nanoseconds for a message, what came before the first left out where a client tells it."""
    result = line["result"]
    user = result.get("cpu_user_from_first", result["cpu_user"])
    system = result.get("cpu_sys_from_first", result["cpu_sys"])
    return (user + system) / result["messages"] * 1e9


def million_per_second(line):
    """Million messages a second."""
    return line["result"]["messages"] / line["result"]["seconds"] / 1e6


def peak_mib(line):
    """Peak resident memory in MiB."""
    return line["result"]["max_rss_kb"] / 1024


def megabytes_per_second(line):
    """Megabytes of payload a second, from the first message on."""
    return line["result"]["bytes"] / line["result"]["seconds_from_first"] / 1e6


def wire_per_byte(line):
    """Bytes over the loopback interface for a byte of payload."""
    return line["loopback"] / line["result"]["bytes"]


def fetched_per_delivered(line):
    """Bytes of records that were fetched for each that was handed out, what is still buffered left out; where a client tells it."""
    result = line["result"]
    return (result["delivered_bytes"] + result["discarded_bytes"]) / result["delivered_bytes"]
