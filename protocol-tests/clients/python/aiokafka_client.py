"""aiokafka."""

import asyncio
import itertools

import command_line
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError, for_code


def produce(bootstrap, topic, codec, idempotent, letters):
    asyncio.run(write(bootstrap, topic, codec, idempotent, letters))


async def write(bootstrap, topic, codec, idempotent, letters):
    settings = {"enable_idempotence": True} if idempotent else {}
    compression = None if codec == "none" else codec
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=compression, **settings) as producer:
        sent = [(key, value, await producer.send(topic, key=key, value=value)) for key, value in letters]
        for key, value, future in sent:
            metadata = await future
            command_line.record(metadata.partition, metadata.offset, key, value)


def consume(bootstrap, topic, group):
    asyncio.run(read(bootstrap, topic, group))


async def read(bootstrap, topic, group):
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
        heartbeat_interval_ms=500)

    class Listener(ConsumerRebalanceListener):
        async def on_partitions_revoked(self, revoked):
            pass

        async def on_partitions_assigned(self, assigned):
            command_line.say({"assigned": sorted(partition.partition for partition in assigned)})

    consumer.subscribe([topic], listener=Listener())
    ended = command_line.told_to_end()
    async with consumer:
        while not ended.is_set():
            polled = await consumer.getmany(timeout_ms=100)
            for message in itertools.chain.from_iterable(polled.values()):
                command_line.record(message.partition, message.offset, message.key, message.value)
            if polled:
                await consumer.commit()


def admin(bootstrap, requests):
    asyncio.run(administer(bootstrap, requests))


async def administer(bootstrap, requests):
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    for op, request in requests:
        outcome = asyncio.gather(refused_by_code(Operations(client), op, request), return_exceptions=True)
        (outcome,) = await outcome

        def ask():
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        command_line.answer(ask)
    await client.close()


async def refused_by_code(operations, op, request):
    operation = getattr(operations, op, None)
    if operation is None:
        raise command_line.Unsupported
    try:
        return await operation(**request)
    except KafkaError as failure:
        raise command_line.Refused(failure.errno, str(failure)) from failure


def checked(code):
    if code:
        raise for_code(code)()


def topic_resource(topic, configs):
    return ConfigResource(ConfigResourceType.TOPIC, topic, configs)


class Operations:
    def __init__(self, client):
        self.client = client

    async def describe_cluster(self):
        return sorted(broker["node_id"] for broker in (await self.client.describe_cluster())["brokers"])

    async def create_topic(self, topic, partitions, replicas, config):
        response = await self.client.create_topics(
            [NewTopic(topic, partitions, replicas, topic_configs=config)])
        checked(response.topic_errors[0][1])

    async def list_topics(self):
        return sorted(await self.client.list_topics())

    async def describe_topic(self, topic):
        (described,) = await self.client.describe_topics([topic])
        return [
            {"leader": partition["leader"], "replicas": partition["replicas"], "in_sync": partition["isr"]}
            for partition in sorted(described["partitions"], key=lambda partition: partition["partition"])
        ]

    async def grow_topic(self, topic, partitions):
        response = await self.client.create_partitions({topic: NewPartitions(partitions)})
        checked(response.topic_errors[0][1])

    async def topic_config(self, topic, name):
        (response,) = await self.client.describe_configs([topic_resource(topic, {name: None})])
        code, _, _, _, entries = response.resources[0][:5]
        checked(code)
        return {entry[0]: entry[1] for entry in entries}[name]

    async def set_topic_config(self, topic, name, value):
        (response,) = await self.client.alter_configs([topic_resource(topic, {name: value})])
        checked(response.resources[0][0])

    async def delete_records(self, topic, partition, offset):
        partition = TopicPartition(topic, partition)
        return (await self.client.delete_records({partition: RecordsToDelete(offset)}))[partition]

    async def delete_topic(self, topic):
        response = await self.client.delete_topics([topic])
        checked(response.topic_error_codes[0][1])

    async def list_groups(self):
        return sorted(group[0] for group in await self.client.list_consumer_groups())

    async def describe_group(self, group):
        (response,) = await self.client.describe_consumer_groups([group])
        code, _, state, _, _, members = response.groups[0][:6]
        checked(code)
        assignments = [ConsumerProtocolMemberAssignment.decode(member[-1] if isinstance(member[-1], bytes) else member[-2])
                       for member in members]
        return {"state": state, "members": sorted(sorted(p.partition for p in a.partitions()) for a in assignments)}

    async def group_offsets(self, group, topic):
        offsets = await self.client.list_consumer_group_offsets(group)
        return {str(partition.partition): offset.offset for partition, offset in offsets.items() if partition.topic == topic}


command_line.main(produce, consume, admin)
