// Kafka's own VerifiableConsumer, over more than one topic.
//
//   java -cp 'JARS/*' Member.java --bootstrap-server HOST:PORT --topic TOPIC[,TOPIC]... --group-id GROUP [OPTION VALUE]...
//
// The options are VerifiableConsumer's: --group-instance-id, --session-timeout, --reset-policy, --assignment-strategy,
// --command-config. Kafka's program takes a single topic, but a consumer from outside: this one subscribes to all.

import java.io.FileInputStream;
import java.io.InputStream;
import java.util.*;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.tools.VerifiableConsumer;

public final class Member {
    static final Map<String, String> SETTINGS = Map.of(
            "--bootstrap-server", "bootstrap.servers",
            "--group-id", "group.id",
            "--group-instance-id", "group.instance.id",
            "--session-timeout", "session.timeout.ms",
            "--reset-policy", "auto.offset.reset",
            "--assignment-strategy", "partition.assignment.strategy");

    public static void main(String[] arguments) throws Exception {
        String topics = null;
        Properties settings = new Properties(), given = new Properties();
        settings.put("enable.auto.commit", "false");
        for (int i = 0; i < arguments.length; i += 2) {
            String option = arguments[i], value = arguments[i + 1];
            if (option.equals("--topic")) {
                topics = value;
            } else if (option.equals("--command-config")) {
                try (InputStream file = new FileInputStream(value)) {
                    settings.load(file);
                }
            } else if (SETTINGS.containsKey(option)) {
                given.put(SETTINGS.get(option), value);
            } else {
                throw new IllegalArgumentException("unknown option " + option);
            }
        }
        settings.putAll(given);
        List<String> each = List.of(topics.split(","));
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer()) {
            @Override
            public void subscribe(Collection<String> one, ConsumerRebalanceListener listener) {
                super.subscribe(each, listener);
            }
        };
        VerifiableConsumer program = new VerifiableConsumer(consumer, System.out, topics, -1, false, false, false);
        Runtime.getRuntime().addShutdownHook(new Thread(program::close));
        program.run();
    }
}
