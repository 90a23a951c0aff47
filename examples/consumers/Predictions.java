// Reads a deployment's predictions from Kafka, each once, and prints each record. JDK 17 or newer and kafka-clients:
//
//   java -cp "kafka-clients.jar:slf4j-api.jar:lz4-java.jar" Predictions.java localhost:9092 lit.demo.predictions.volatility-1
//
// Within a model and symbol `ordinal` only grows: what is not above the last one seen is a repeat, and dropped.

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Predictions {
    // A JSON library reads all fields; for the key of repeats two of them are enough.
    private static final Pattern MODEL = Pattern.compile("\"model\":\"((?:[^\"\\\\]|\\\\.)*)\"");
    private static final Pattern ORDINAL = Pattern.compile("\"ordinal\":(\\d+)");

    public static void main(String[] args) {
        if (args.length < 2) {
            System.err.println("usage: java -cp … Predictions.java BOOTSTRAP_SERVERS TOPIC [HOW_MANY]");
            System.exit(2);
        }
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("group.id", "my-java-consumer");
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        int wanted = args.length > 2 ? Integer.parseInt(args[2]) : Integer.MAX_VALUE;
        Map<String, Long> last = new HashMap<>();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.subscribe(List.of(args[1]));
            while (wanted > 0) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(500))) {
                    String key = find(MODEL, record.value()) + "|" + record.key();
                    long ordinal = Long.parseLong(find(ORDINAL, record.value()));
                    if (ordinal <= last.getOrDefault(key, -1L)) {
                        continue;
                    }
                    last.put(key, ordinal);
                    System.out.println(record.value());
                    if (--wanted == 0) {
                        return;
                    }
                }
            }
        }
    }

    private static String find(Pattern pattern, String text) {
        Matcher found = pattern.matcher(text);
        if (!found.find()) {
            throw new IllegalArgumentException("not a prediction: " + text);
        }
        return found.group(1);
    }
}
