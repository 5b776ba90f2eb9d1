// Go's clients as a program: each line of stdin is a call (JSON), each line of stdout what its client made of it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	sashabaranov "github.com/sashabaranov/go-openai"
)

type call struct {
	Client  string   `json:"client"`
	BaseURL string   `json:"base_url"`
	Key     string   `json:"key"`
	Retries int      `json:"retries"`
	Model   string   `json:"model"`
	Input   []string `json:"input"`
	Format  string   `json:"format"`
}

type answer struct {
	Vectors []any             `json:"vectors,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Error   string            `json:"error,omitempty"`
	Status  int               `json:"status,omitempty"`
	Message string            `json:"message,omitempty"`
}

func withOpenAI(asked call) (answer, error) {
	client := openai.NewClient(
		option.WithBaseURL(asked.BaseURL), option.WithAPIKey(asked.Key), option.WithMaxRetries(asked.Retries),
	)
	var response *http.Response
	got, err := client.Embeddings.New(context.Background(), openai.EmbeddingNewParams{
		Model:          asked.Model,
		Input:          openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: asked.Input},
		EncodingFormat: openai.EmbeddingNewParamsEncodingFormat(asked.Format),
	}, option.WithResponseInto(&response))
	if err != nil {
		return answer{}, err
	}
	var vectors []any
	for _, item := range got.Data {
		if asked.Format == "base64" {
			// This SDK's type is a list of numbers: base64 is there as it came.
			var encoded string
			if err := json.Unmarshal([]byte(item.JSON.Embedding.Raw()), &encoded); err != nil {
				return answer{}, err
			}
			vectors = append(vectors, encoded)
		} else {
			vectors = append(vectors, item.Embedding)
		}
	}
	return answer{Vectors: vectors, Headers: first(response.Header)}, nil
}

func withGoOpenAI(asked call) (answer, error) {
	config := sashabaranov.DefaultConfig(asked.Key)
	config.BaseURL = asked.BaseURL
	got, err := sashabaranov.NewClientWithConfig(config).CreateEmbeddings(context.Background(), sashabaranov.EmbeddingRequest{
		Model:          sashabaranov.EmbeddingModel(asked.Model),
		Input:          asked.Input,
		EncodingFormat: sashabaranov.EmbeddingEncodingFormat(asked.Format),
	})
	if err != nil {
		return answer{}, err
	}
	var vectors []any
	for _, item := range got.Data {
		vectors = append(vectors, item.Embedding)
	}
	return answer{Vectors: vectors, Headers: first(got.Header())}, nil
}

func first(header http.Header) map[string]string {
	values := map[string]string{}
	for name := range header {
		values[http.CanonicalHeaderKey(name)] = header.Get(name)
	}
	return values
}

func refused(err error) answer {
	var official *openai.Error
	var other *sashabaranov.APIError
	switch {
	case errors.As(err, &official):
		return answer{Error: fmt.Sprintf("%T", official), Status: official.StatusCode, Message: official.Message}
	case errors.As(err, &other):
		return answer{Error: fmt.Sprintf("%T", other), Status: other.HTTPStatusCode, Message: err.Error()}
	}
	return answer{Error: fmt.Sprintf("%T", err), Message: err.Error()}
}

func main() {
	clients := map[string]func(call) (answer, error){"openai-go": withOpenAI, "go-openai": withGoOpenAI}
	lines := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked call
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		got, err := clients[asked.Client](asked)
		if err != nil {
			got = refused(err)
		}
		if err := answers.Encode(got); err != nil {
			panic(err)
		}
	}
}
