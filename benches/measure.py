"""What the scripts of these benchmarks share: servers for as long as they are needed, and clients that are run and measured.

A line of results says: scenario, name of the client, round, exit status, bytes over the loopback interface meanwhile, load of
the machine, and the client's own line of JSON as `result`. Everything here is Python's standard library, on Linux.
"""
import contextlib, json, os, pathlib, shlex, signal, subprocess, sys, time

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results"


def build():
    """Builds the programs as they are measured, and says where they are; or takes those in $OTTLA_BENCH_PROGRAMS."""
    if built := os.environ.get("OTTLA_BENCH_PROGRAMS"):
        return pathlib.Path(built)
    command = ["cargo", "build", "--quiet", "--locked", "--profile", "bench", "-p", "ottla-benches", "--bins"]
    subprocess.run(command, cwd=HERE.parent, check=True)
    return target_directory() / "release"


def target_directory():
    """Where cargo builds."""
    told = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"], cwd=HERE.parent,
                          check=True, capture_output=True, text=True).stdout
    return pathlib.Path(json.loads(told)["target_directory"])


def pinned(command, cpu=None):
    """The command as text, on one CPU if that is named."""
    return ([] if cpu is None else ["taskset", "-c", str(cpu)]) + [str(part) for part in command]


class Server:
    """A server that says `bootstrap HOST:PORT` when it serves. Ended by `close`: with its standard input, or else killed."""

    def __init__(self, command, cpu=None):
        self.process = subprocess.Popen(pinned(command, cpu), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said = []
        for line in self.process.stdout:
            self.said.append(line.strip())
            if line.startswith("bootstrap "):
                self.bootstrap = line.split()[1]
                return
        raise SystemExit(f"{command[0]} did not start: exit status {self.process.wait()}")

    def close(self):
        """Ends it, and waits for the end of all that it started."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=1 if "serve" in self.process.args else 60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def kafka(programs, *arguments, brokers=None):
    """Real brokers: those that are named, or some that are started."""
    if brokers:
        yield brokers
        return
    server = Server([programs / "ottla-cases", "kafka", *arguments])
    try:
        yield server.bootstrap
    finally:
        server.close()


def make_topic(programs, brokers, name, partitions, *arguments):
    """A topic that is new."""
    command = [programs / "ottla-cases", "topic", "--brokers", brokers, "--topic", name, "--partitions", str(partitions)]
    subprocess.run([*command, *arguments], check=True)
    return name


def fill(programs, brokers, topic, messages, size, compression="none", partitions=12, *arguments, batch_bytes=128 << 10):
    """Messages for a topic, evenly over its first `partitions`, in batches of up to `batch_bytes`."""
    command = [programs / "ottla-bench", "produce", "--brokers", brokers, "--topic", topic, "--messages", messages,
               "--size", size, "--compression", compression, "--partitions", partitions, "--batch-bytes", batch_bytes,
               "--linger-ms", 50, *arguments]
    written = subprocess.run(pinned(command), check=True, capture_output=True, text=True)
    assert json.loads(written.stdout)["failures"] == 0, written.stdout


def clients(programs, arguments):
    """The clients by name, ours first: each a command to which `consume` and its options are added."""
    named = {"ottla": [str(programs / "ottla-bench")]}
    for client in arguments:
        name, command = client.split("=", 1)
        named[name] = shlex.split(command)
    return named


def interleaved(items, rounds):
    """Every item in every round, each round beginning with another."""
    items = list(items)
    for number in range(rounds):
        first = number % len(items)
        yield from ((number + 1, item) for item in items[first:] + items[:first])


def loopback_bytes():
    """What has gone over the loopback interface."""
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            return int(line.split(":")[1].split()[0])
    raise SystemExit("there is no loopback interface")


def load():
    """How many processes have wanted to run, over the last minute."""
    return os.getloadavg()[0]


def processor_seconds(pid):
    """What a process has cost so far, itself and what it waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid):
    """What a process has in memory, and the most that it had."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    figures = {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith("Vm")}
    return figures["VmRSS"], figures["VmHWM"]


def run(command, cpu=None, timeout=300):
    """Runs a client to its end. Returns a line of results without scenario, name and round."""
    before = loopback_bytes()
    try:
        ended = subprocess.run(pinned(command, cpu), stdin=subprocess.DEVNULL, capture_output=True,
                               text=True, timeout=timeout)
        status, said = ended.returncode, ended.stdout.strip().splitlines()
        if status != 0:
            sys.stderr.write(ended.stderr[-2000:])
    except subprocess.TimeoutExpired:
        status, said = 124, []
    line = said[-1] if said and said[-1].startswith("{") else "null"
    return {"rc": status, "loopback": loopback_bytes() - before, "load": round(load(), 2), "result": json.loads(line)}


def watch(command, settle_s, watch_s):
    """Runs a client that waits: after `settle_s` seconds, what it costs in `watch_s` more. Then it is killed."""
    process = subprocess.Popen(pinned(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(settle_s)
        if process.poll() is not None:
            sys.stderr.write(process.stderr.read()[-2000:])
            return {"rc": process.returncode, "load": round(load(), 2), "result": None}
        start, cost, wire = time.monotonic(), processor_seconds(process.pid), loopback_bytes()
        time.sleep(watch_s)
        taken = time.monotonic() - start
        cost, wire = processor_seconds(process.pid) - cost, loopback_bytes() - wire
        resident, peak = resident_kib(process.pid)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    result = {"seconds": taken, "cpu": cost, "wire_bytes": wire, "rss_kb": resident, "max_rss_kb": peak}
    return {"rc": 0, "load": round(load(), 2), "result": result}


class Results:
    """A file of results, begun anew, a line each."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("w")

    def add(self, scenario, name, number, line):
        self.file.write(json.dumps({"scenario": scenario, "name": name, "round": number, **line}) + "\n")
        self.file.flush()
        failed = "" if line["rc"] == 0 else f": FAILED ({line['rc']})"
        print(f"{scenario}, {name}, round {number}{failed}", file=sys.stderr)
