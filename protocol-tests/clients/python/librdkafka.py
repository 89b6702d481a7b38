"""librdkafka, by way of confluent-kafka."""

import command_line
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType,
)

TIMEOUT = 30


def produce(bootstrap, topic, codec, idempotent, letters):
    settings = {"bootstrap.servers": bootstrap, "compression.type": codec}
    producer = Producer(settings | ({"enable.idempotence": True} if idempotent else {}))

    def delivered(error, message):
        if error is not None:
            raise KafkaException(error)
        command_line.record(message.partition(), message.offset(), message.key(), message.value())

    for key, value in letters:
        producer.produce(topic, key=key, value=value, on_delivery=delivered)
    if producer.flush(TIMEOUT) > 0:
        raise TimeoutError("not all was written in time")


def consume(bootstrap, topic, group):
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "heartbeat.interval.ms": 500,
    })

    def assigned(_, partitions):
        command_line.say({"assigned": sorted(partition.partition for partition in partitions)})

    def revoked(_, partitions):
        command_line.say({"assigned": []})

    consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked)
    ended = command_line.told_to_end()
    while not ended.is_set():
        messages = consumer.consume(num_messages=500, timeout=0.1)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            command_line.record(message.partition(), message.offset(), message.key(), message.value())
        if messages:
            consumer.commit(asynchronous=False)
    consumer.close()


def admin(bootstrap, requests):
    client = AdminClient({"bootstrap.servers": bootstrap})
    for op, request in requests:
        command_line.answer(lambda: refused_by_code(Operations(client), op, request))


def refused_by_code(operations, op, request):
    operation = getattr(operations, op, None)
    if operation is None:
        raise command_line.Unsupported
    try:
        return operation(**request)
    except KafkaException as failure:
        error = failure.args[0]
        raise command_line.Refused(error.code(), error.str()) from failure


def only(futures):
    (future,) = futures.values()
    return future.result(TIMEOUT)


class Operations:
    def __init__(self, client):
        self.client = client

    def describe_cluster(self):
        cluster = self.client.describe_cluster().result(TIMEOUT)
        return sorted(node.id for node in cluster.nodes)

    def create_topic(self, topic, partitions, replicas, config):
        only(self.client.create_topics([NewTopic(topic, partitions, replicas, config=config)]))

    def list_topics(self):
        return sorted(self.client.list_topics(timeout=TIMEOUT).topics)

    def describe_topic(self, topic):
        described = only(self.client.describe_topics(TopicCollection([topic])))
        ids = lambda nodes: [node.id for node in nodes]
        return [
            {"leader": partition.leader.id, "replicas": ids(partition.replicas), "in_sync": ids(partition.isr)}
            for partition in sorted(described.partitions, key=lambda partition: partition.id)
        ]

    def grow_topic(self, topic, partitions):
        only(self.client.create_partitions([NewPartitions(topic, partitions)]))

    def topic_config(self, topic, name):
        return only(self.client.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))[name].value

    def set_topic_config(self, topic, name, value):
        change = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        only(self.client.incremental_alter_configs(
            [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])]))

    def delete_records(self, topic, partition, offset):
        return only(self.client.delete_records([TopicPartition(topic, partition, offset)])).low_watermark

    def delete_topic(self, topic):
        only(self.client.delete_topics([topic]))

    def list_groups(self):
        listed = self.client.list_consumer_groups().result(TIMEOUT)
        if listed.errors:
            raise listed.errors[0]
        return sorted(group.group_id for group in listed.valid)

    def describe_group(self, group):
        described = only(self.client.describe_consumer_groups([group]))
        members = [sorted(p.partition for p in member.assignment.topic_partitions) for member in described.members]
        return {"state": described.state.name, "members": sorted(members)}

    def group_offsets(self, group, topic):
        found = only(self.client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
        return {str(p.partition): p.offset for p in found.topic_partitions if p.topic == topic}

    def delete_group(self, group):
        only(self.client.delete_consumer_groups([group]))


command_line.main(produce, consume, admin)
