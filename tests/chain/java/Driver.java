// Java's clients as a program: each line of stdin is a call (JSON), each line of stdout what its client made of it.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.errors.OpenAIServiceException;
import com.openai.models.embeddings.CreateEmbeddingResponse;
import com.openai.models.embeddings.EmbeddingCreateParams;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.exception.HttpException;
import dev.langchain4j.model.openai.OpenAiEmbeddingModel;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

public final class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> answer;
            try {
                JsonNode call = JSON.readTree(line);
                answer = call.get("client").asText().equals("openai") ? withOpenAI(call) : withLangChain4j(call);
            } catch (RuntimeException error) {
                answer = refused(error);
            }
            System.out.println(JSON.writeValueAsString(answer));
        }
        // Idle threads of an HTTP client would keep the program.
        System.exit(0);
    }

    private static Map<String, Object> withOpenAI(JsonNode call) {
        OpenAIClient client = OpenAIOkHttpClient.builder()
            .baseUrl(call.get("base_url").asText())
            .apiKey(call.get("key").asText())
            .maxRetries(call.get("retries").asInt())
            .build();
        EmbeddingCreateParams.Builder asked = EmbeddingCreateParams.builder()
            .model(call.get("model").asText())
            .inputOfArrayOfStrings(inputs(call));
        if (call.hasNonNull("format")) {
            asked.encodingFormat(EmbeddingCreateParams.EncodingFormat.of(call.get("format").asText()));
        }
        var response = client.withRawResponse().embeddings().create(asked.build());
        Map<String, String> headers = new HashMap<>();
        for (String name : response.headers().names()) {
            headers.put(name, response.headers().values(name).get(0));
        }
        CreateEmbeddingResponse got = response.parse();
        List<Object> vectors = new ArrayList<>();
        got.data().forEach(item -> vectors.add(item.embedding()));
        return Map.of("vectors", vectors, "headers", headers);
    }

    private static Map<String, Object> withLangChain4j(JsonNode call) {
        var model = OpenAiEmbeddingModel.builder()
            .baseUrl(call.get("base_url").asText())
            .apiKey(call.get("key").asText())
            .modelName(call.get("model").asText())
            .maxRetries(call.get("retries").asInt());
        if (call.hasNonNull("format")) {
            model.encodingFormat(call.get("format").asText());
        }
        List<TextSegment> segments = inputs(call).stream().map(TextSegment::from).toList();
        List<Object> vectors = new ArrayList<>();
        model.build().embedAll(segments).content().forEach(item -> vectors.add(item.vector()));
        return Map.of("vectors", vectors);
    }

    private static List<String> inputs(JsonNode call) {
        List<String> inputs = new ArrayList<>();
        call.get("input").forEach(text -> inputs.add(text.asText()));
        return inputs;
    }

    private static Map<String, Object> refused(RuntimeException error) {
        Map<String, Object> answer = new HashMap<>();
        answer.put("error", error.getClass().getSimpleName());
        answer.put("message", String.valueOf(error.getMessage()));
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (cause instanceof OpenAIServiceException refusal) {
                answer.put("status", refusal.statusCode());
            } else if (cause instanceof HttpException refusal) {
                answer.put("status", refusal.statusCode());
            }
        }
        return answer;
    }
}
