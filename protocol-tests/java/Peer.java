// The Java client on request: reads a JSON object a line from standard input, does what it asks, and answers with one.
//
//   java -cp 'JARS/*' Peer.java
//
// Requests have an `op` and the cluster's `bootstrap`; answers are {"ok": ...} or {"error": "..."}. Keys, values and header
// values are base64, or null. `settings` are Kafka's own and win over what is set here. Ends when standard input ends.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Peer {
    static final ObjectMapper json = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        // The answers' stream is ours alone: a library that prints must not break it.
        PrintStream answers = System.out;
        System.setOut(System.err);
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            ObjectNode answer = json.createObjectNode();
            try {
                answer.set("ok", answer(json.readTree(line)));
            } catch (Throwable failure) {
                Throwable cause = failure.getCause() == null ? failure : failure.getCause();
                answer.put("error", cause.toString());
            }
            answers.println(json.writeValueAsString(answer));
            answers.flush();
        }
    }

    static JsonNode answer(JsonNode request) throws Exception {
        switch (request.get("op").asText()) {
            case "produce": return produce(request);
            case "consume": return consume(request);
            case "create_topic": return createTopic(request);
            case "describe": return describe(request);
            case "move_leader": return moveLeader(request);
            case "delete_records": return deleteRecords(request);
            case "elect_uncleanly": return electUncleanly(request);
            case "members": return members(request);
            default: throw new IllegalArgumentException("unknown op " + request.get("op"));
        }
    }

    static Properties settings(JsonNode request) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", request.get("bootstrap").asText());
        if (request.has("settings")) {
            request.get("settings").fields().forEachRemaining(e -> settings.put(e.getKey(), e.getValue().asText()));
        }
        return settings;
    }

    static byte[] bytes(JsonNode value) {
        return value == null || value.isNull() ? null : Base64.getDecoder().decode(value.asText());
    }

    static String text(byte[] value) {
        return value == null ? null : Base64.getEncoder().encodeToString(value);
    }

    static JsonNode produce(JsonNode request) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(settings(request), new ByteArraySerializer(), new ByteArraySerializer())) {
            for (JsonNode record : request.get("records")) {
                List<Header> headers = new ArrayList<>();
                if (record.has("headers")) {
                    for (JsonNode header : record.get("headers")) {
                        headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
                    }
                }
                Integer partition = record.hasNonNull("partition") ? record.get("partition").asInt() : null;
                Long timestamp = record.hasNonNull("timestamp") ? record.get("timestamp").asLong() : null;
                sent.add(producer.send(new ProducerRecord<>(request.get("topic").asText(), partition, timestamp,
                        bytes(record.get("key")), bytes(record.get("value")), headers)));
            }
            producer.flush();
        }
        ArrayNode answers = json.createArrayNode();
        for (Future<RecordMetadata> future : sent) {
            RecordMetadata metadata = future.get(1, TimeUnit.MINUTES);
            answers.addObject().put("partition", metadata.partition()).put("offset", metadata.offset())
                    .put("timestamp", metadata.timestamp());
        }
        return answers;
    }

    static JsonNode consume(JsonNode request) {
        TopicPartition partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        int count = request.get("count").asInt();
        ArrayNode answers = json.createArrayNode();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings(request), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, request.get("from").asLong());
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (answers.size() < count && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    ObjectNode answer = answers.addObject().put("partition", record.partition()).put("offset", record.offset())
                            .put("timestamp", record.timestamp()).put("timestamp_type", record.timestampType().toString())
                            .put("key", text(record.key())).put("value", text(record.value()));
                    ArrayNode headers = answer.putArray("headers");
                    for (Header header : record.headers()) {
                        headers.addArray().add(header.key()).add(text(header.value()));
                    }
                }
            }
        }
        return answers;
    }

    static JsonNode createTopic(JsonNode request) throws Exception {
        NewTopic topic = new NewTopic(request.get("topic").asText(), request.get("partitions").asInt(),
                (short) request.get("replication").asInt());
        Map<String, String> configs = new HashMap<>();
        if (request.has("configs")) {
            request.get("configs").fields().forEachRemaining(e -> configs.put(e.getKey(), e.getValue().asText()));
        }
        try (Admin admin = Admin.create(settings(request))) {
            admin.createTopics(List.of(topic.configs(configs))).all().get(1, TimeUnit.MINUTES);
        }
        return json.getNodeFactory().nullNode();
    }

    static JsonNode describe(JsonNode request) throws Exception {
        String topic = request.get("topic").asText();
        ArrayNode answers = json.createArrayNode();
        try (Admin admin = Admin.create(settings(request))) {
            TopicDescription description = admin.describeTopics(List.of(topic)).allTopicNames().get(1, TimeUnit.MINUTES).get(topic);
            for (TopicPartitionInfo partition : description.partitions()) {
                ObjectNode answer = answers.addObject().put("partition", partition.partition())
                        .put("leader", partition.leader() == null ? -1 : partition.leader().id());
                ArrayNode replicas = answer.putArray("replicas"), isr = answer.putArray("isr");
                for (Node node : partition.replicas()) replicas.add(node.id());
                for (Node node : partition.isr()) isr.add(node.id());
            }
        }
        return answers;
    }

    static JsonNode deleteRecords(JsonNode request) throws Exception {
        TopicPartition partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        RecordsToDelete before = RecordsToDelete.beforeOffset(request.get("offset").asLong());
        try (Admin admin = Admin.create(settings(request))) {
            long start = admin.deleteRecords(Map.of(partition, before)).lowWatermarks().get(partition)
                    .get(1, TimeUnit.MINUTES).lowWatermark();
            return json.getNodeFactory().numberNode(start);
        }
    }

    static JsonNode electUncleanly(JsonNode request) throws Exception {
        TopicPartition partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        try (Admin admin = Admin.create(settings(request))) {
            admin.electLeaders(ElectionType.UNCLEAN, Set.of(partition)).all().get(1, TimeUnit.MINUTES);
            return json.nullNode();
        }
    }

    /** Makes `node` the preferred leader of the partition, elects it, and waits until it leads. */
    static JsonNode moveLeader(JsonNode request) throws Exception {
        String topic = request.get("topic").asText();
        TopicPartition partition = new TopicPartition(topic, request.get("partition").asInt());
        int node = request.get("node").asInt();
        try (Admin admin = Admin.create(settings(request))) {
            List<Integer> replicas = new ArrayList<>();
            replicas.add(node);
            for (Node replica : partitionInfo(admin, partition).replicas()) if (replica.id() != node) replicas.add(replica.id());
            admin.alterPartitionReassignments(Map.of(partition, Optional.of(new NewPartitionReassignment(replicas))))
                    .all().get(1, TimeUnit.MINUTES);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (true) {
                TopicPartitionInfo now = partitionInfo(admin, partition);
                if (now.leader() != null && now.leader().id() == node) return json.getNodeFactory().numberNode(node);
                if (System.nanoTime() > deadline) throw new IllegalStateException("node " + node + " does not lead: " + now);
                try {
                    admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).all().get(1, TimeUnit.MINUTES);
                } catch (java.util.concurrent.ExecutionException notYet) {
                    // Until the replica is in sync and the reassignment has arrived it cannot be elected.
                    Thread.sleep(100);
                }
            }
        }
    }

    /** The members of a group as its coordinator knows them. While they rebalance, it names no partitions. */
    static JsonNode members(JsonNode request) throws Exception {
        String group = request.get("group").asText();
        try (Admin admin = Admin.create(settings(request))) {
            ConsumerGroupDescription description =
                    admin.describeConsumerGroups(List.of(group)).all().get(1, TimeUnit.MINUTES).get(group);
            ArrayNode answers = json.createArrayNode();
            for (MemberDescription member : description.members()) {
                ObjectNode answer = answers.addObject().put("member_id", member.consumerId()).put("client_id", member.clientId());
                ArrayNode partitions = answer.putArray("partitions");
                for (TopicPartition partition : member.assignment().topicPartitions()) {
                    partitions.addObject().put("topic", partition.topic()).put("partition", partition.partition());
                }
            }
            return answers;
        }
    }

    static TopicPartitionInfo partitionInfo(Admin admin, TopicPartition partition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (true) {
            try {
                return admin.describeTopics(List.of(partition.topic())).allTopicNames().get(1, TimeUnit.MINUTES)
                        .get(partition.topic()).partitions().get(partition.partition());
            } catch (java.util.concurrent.ExecutionException unknown) {
                // A broker learns of a new topic a little later than the one that was asked to make it.
                if (System.nanoTime() > deadline) throw unknown;
                Thread.sleep(100);
            }
        }
    }
}
