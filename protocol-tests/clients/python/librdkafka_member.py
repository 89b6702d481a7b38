"""A member of a consumer group over librdkafka, with the options and the output of Kafka's VerifiableConsumer.

A line of JSON tells of each event: startup_complete, partitions_assigned, partitions_revoked, records_consumed,
offsets_committed, shutdown_complete. What was read is committed before the next poll, and before partitions are given up.
SIGTERM and SIGINT end it in an orderly way: it leaves the group.

`--topic` takes several, separated by commas. `--command-config` names a file of librdkafka's settings, a `name=value` a line.
"""

import argparse
import json
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

MOST_AT_ONCE = 500


def say(name, **fields):
    print(json.dumps({"timestamp": int(time.time() * 1000), "name": name, **fields}), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-server", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--group-id", required=True)
    parser.add_argument("--group-instance-id")
    parser.add_argument("--assignment-strategy", default="range")
    parser.add_argument("--reset-policy", default="earliest")
    parser.add_argument("--session-timeout", default="30000", metavar="MS")
    parser.add_argument("--command-config")
    return parser.parse_args()


def settings(options):
    settings = {}
    if options.command_config:
        with open(options.command_config) as file:
            lines = [line.strip() for line in file]
        settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings |= {
        "bootstrap.servers": options.bootstrap_server,
        "group.id": options.group_id,
        "partition.assignment.strategy": options.assignment_strategy,
        "auto.offset.reset": options.reset_policy,
        "session.timeout.ms": options.session_timeout,
        "enable.auto.commit": "false",
    }
    if options.group_instance_id:
        settings["group.instance.id"] = options.group_instance_id
    return settings


class Member:
    def __init__(self, options):
        self.consumer = Consumer(settings(options))
        self.topics = options.topic.split(",")
        # What poll has returned and nobody was told of yet.
        self.read = []
        self.is_told_to_end = False

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.end)
        say("startup_complete")
        self.consumer.subscribe(self.topics, on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)
        while not self.is_told_to_end:
            message = self.consumer.poll(0.1)
            while message is not None and len(self.read) < MOST_AT_ONCE:
                self.take(message)
                message = self.consumer.poll(0)
            if message is not None:
                self.take(message)
            self.commit()
        self.consumer.close()
        say("shutdown_complete")

    def end(self, _signal, _frame):
        self.is_told_to_end = True

    def take(self, message):
        if message.error() is None:
            self.read.append(message)
        elif message.error().fatal():
            raise KafkaException(message.error())
        else:
            print(message.error(), file=sys.stderr, flush=True)

    def on_assign(self, _consumer, partitions):
        say("partitions_assigned", partitions=named(partitions))

    def on_revoke(self, _consumer, partitions):
        self.commit()
        say("partitions_revoked", partitions=named(partitions))

    def on_lost(self, _consumer, partitions):
        # They may be another member's by now: there is nothing to commit.
        self.tell_what_was_read()
        say("partitions_revoked", partitions=named(partitions))

    def tell_what_was_read(self):
        """Tells of what was read, and returns the offsets that follow it."""
        offsets = {}
        for message in self.read:
            offsets.setdefault((message.topic(), message.partition()), []).append(message.offset())
        count, self.read = len(self.read), []
        if count:
            partitions = [
                {"topic": topic, "partition": partition, "count": len(read), "minOffset": min(read), "maxOffset": max(read)}
                for (topic, partition), read in offsets.items()
            ]
            say("records_consumed", count=count, partitions=partitions)
        return [TopicPartition(topic, partition, max(read) + 1) for (topic, partition), read in offsets.items()]

    def commit(self):
        offsets = self.tell_what_was_read()
        if not offsets:
            return
        told = [{"topic": one.topic, "partition": one.partition, "offset": one.offset} for one in offsets]
        try:
            self.consumer.commit(offsets=offsets, asynchronous=False)
            say("offsets_committed", success=True, offsets=told)
        except KafkaException as failure:
            say("offsets_committed", success=False, offsets=told, error=failure.args[0].str())


def named(partitions):
    return [{"topic": one.topic, "partition": one.partition} for one in partitions]


if __name__ == "__main__":
    Member(arguments()).run()
