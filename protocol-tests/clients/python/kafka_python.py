"""kafka-python."""

import itertools

import command_line
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.consumer.subscription_state import ConsumerRebalanceListener

TIMEOUT = 30


def produce(bootstrap, topic, codec, idempotent, letters):
    settings = {"enable_idempotence": True} if idempotent else {}
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, **settings)
    sent = [(key, value, producer.send(topic, key=key, value=value)) for key, value in letters]
    for key, value, future in sent:
        metadata = future.get(TIMEOUT)
        command_line.record(metadata.partition, metadata.offset, key, value)
    producer.close()


def consume(bootstrap, topic, group):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
        heartbeat_interval_ms=500)

    class Listener(ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            command_line.say({"assigned": sorted(partition.partition for partition in consumer.assignment())})

        def on_partitions_revoked(self, revoked):
            pass

    consumer.subscribe([topic], listener=Listener())
    command_line.end_by_exception()
    try:
        while True:
            # A poll whose time ends while the member is joining loses what it is assigned (3.0.12): so none does.
            polled = consumer.poll(timeout_ms=600_000)
            for message in itertools.chain.from_iterable(polled.values()):
                command_line.record(message.partition, message.offset, message.key, message.value)
            consumer.commit()
    except command_line.ToldToEnd:
        consumer.close()


def admin(bootstrap, requests):
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    for op, request in requests:
        command_line.answer(lambda: refused_by_code(Operations(client), op, request))
    client.close()


def refused_by_code(operations, op, request):
    operation = getattr(operations, op, None)
    if operation is None:
        raise command_line.Unsupported
    try:
        return operation(**request)
    except errors.BrokerResponseError as failure:
        raise command_line.Refused(failure.errno, str(failure)) from failure


def topic_resource(topic, configs):
    return ConfigResource(ConfigResourceType.TOPIC, topic, configs)


class Operations:
    def __init__(self, client):
        self.client = client

    def describe_cluster(self):
        return sorted(broker["broker_id"] for broker in self.client.describe_cluster()["brokers"])

    def create_topic(self, topic, partitions, replicas, config):
        self.client.create_topics(
            {topic: {"num_partitions": partitions, "replication_factor": replicas, "configs": config}})

    def list_topics(self):
        return sorted(self.client.list_topics())

    def describe_topic(self, topic):
        (described,) = self.client.describe_topics([topic])
        return [
            {"leader": partition["leader_id"], "replicas": partition["replica_nodes"], "in_sync": partition["isr_nodes"]}
            for partition in sorted(described["partitions"], key=lambda partition: partition["partition_index"])
        ]

    def grow_topic(self, topic, partitions):
        self.client.create_partitions({topic: partitions})

    def topic_config(self, topic, name):
        described = self.client.describe_configs([topic_resource(topic, [name])], config_filter="all")
        return described["topic"][topic][name]["value"]

    def set_topic_config(self, topic, name, value):
        outcome = self.client.alter_configs([topic_resource(topic, {name: value})])["topic"][topic]
        if outcome != "OK":
            # It tells the code in words: [Error 40] InvalidConfigurationError: ..
            raise command_line.Refused(int(outcome.partition("]")[0].removeprefix("[Error ")), outcome)

    def delete_records(self, topic, partition, offset):
        partition = TopicPartition(topic, partition)
        return self.client.delete_records({partition: offset})[partition]["low_watermark"]

    def delete_topic(self, topic):
        self.client.delete_topics([topic])

    def list_groups(self):
        return sorted(group["group_id"] for group in self.client.list_groups())

    def describe_group(self, group):
        described = self.client.describe_groups([group])[group]
        members = [
            sorted(p for topic in member["member_assignment"]["assigned_partitions"] for p in topic["partitions"])
            for member in described["members"]
        ]
        return {"state": described["group_state"], "members": sorted(members)}

    def group_offsets(self, group, topic):
        offsets = self.client.list_group_offsets(group)[group]
        return {str(partition.partition): offset.offset for partition, offset in offsets.items() if partition.topic == topic}

    def delete_group_offsets(self, group, topic, partitions):
        deleted = self.client.delete_group_offsets(group, [TopicPartition(topic, p) for p in partitions])
        for error in deleted.values():
            if error is not errors.NoError:
                raise error()

    def delete_group(self, group):
        outcome = self.client.delete_groups([group])[group]
        if outcome != "OK":
            raise getattr(errors, outcome)()


command_line.main(produce, consume, admin)
