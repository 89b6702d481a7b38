"""The command line that the programs over Python's clients share: see clients/README.md."""

import json
import signal
import sys
import threading


class Refused(Exception):
    """The broker said no, with a code of Kafka's."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Unsupported(Exception):
    """The client does not have the operation."""


def say(value):
    print(json.dumps(value), flush=True)


def record(partition, offset, key, value):
    say({"partition": partition, "offset": offset, "key": key.decode(), "value": value.decode()})


def letters(codec, count):
    """The records to write: the same key often enough, and values that are worth compressing."""
    for number in range(count):
        yield f"{codec}-{number % 50}".encode(), f"letter {number}, {codec}: {'Dear Ottla, ' * 8}".encode()


class ToldToEnd(Exception):
    """SIGTERM has come."""


def end_by_exception():
    """Raises ToldToEnd on SIGTERM, wherever the program is: for calls that nothing else makes return."""

    def told(*_):
        raise ToldToEnd

    signal.signal(signal.SIGTERM, told)


def told_to_end():
    """An event that is set on SIGTERM."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    return told


def answer(ask):
    """Says what `ask` returns, or how it failed."""
    try:
        say({"ok": ask()})
    except Unsupported:
        say({"unsupported": True})
    except Refused as refused:
        say({"error": refused.code, "text": str(refused)})
    except Exception as failure:  # whatever a client throws is an answer
        say({"error": None, "text": repr(failure)})


def main(produce, consume, admin):
    arguments = sys.argv[1:]
    idempotent = "--idempotent" in arguments
    command, bootstrap, *rest = [argument for argument in arguments if argument != "--idempotent"]
    if command == "produce":
        topic, count, *codecs = rest
        for codec in codecs:
            produce(bootstrap, topic, codec, idempotent, letters(codec, int(count)))
    elif command == "consume":
        topic, group = rest
        consume(bootstrap, topic, group)
    elif command == "admin":
        requests = [json.loads(request) for request in rest]
        admin(bootstrap, [(request.pop("op"), request) for request in requests])
    else:
        sys.exit(f"no such command: {command}")
