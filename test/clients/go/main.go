// Checks of OpenAI's SDK for Go: one JSON line for each, what it is and whether it held.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

var (
	chatModel      = os.Getenv("COLONNADE_CHAT_MODEL")
	embeddingModel = os.Getenv("COLONNADE_EMBEDDING_MODEL")
	client         = openai.NewClient(
		option.WithBaseURL(os.Getenv("COLONNADE_BASE_URL")),
		option.WithAPIKey(os.Getenv("COLONNADE_API_KEY")),
		option.WithMaxRetries(0),
	)
	question = []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Say hello.")}
)

type check struct {
	name string
	run  func(context.Context) error
}

func main() {
	print(map[string]any{"version": version()})
	failed := false
	for _, one := range []check{
		{"chat", chat}, {"chat, streamed", streamed}, {"responses", respond}, {"embeddings", embed}, {"models", models}, {"typed errors", typedErrors},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
		started := time.Now()
		outcome, detail := "passed", ""
		if err := one.run(ctx); err != nil {
			failed, outcome, detail = true, "failed", err.Error()
		}
		cancel()
		print(map[string]any{"check": one.name, "outcome": outcome, "detail": detail, "seconds": time.Since(started).Seconds()})
	}
	if failed {
		os.Exit(1)
	}
}

func chat(ctx context.Context) error {
	answer, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
		Model: chatModel, Messages: question, MaxTokens: openai.Int(16),
	})
	if err != nil {
		return err
	}
	if answer.Choices[0].Message.Content == "" || answer.Usage.TotalTokens == 0 {
		return errors.New("an empty answer")
	}
	return nil
}

func streamed(ctx context.Context) error {
	stream := client.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
		Model: chatModel, Messages: question, MaxTokens: openai.Int(16),
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	})
	whole := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		whole.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil {
		return err
	}
	if whole.Choices[0].Message.Content == "" || whole.Usage.CompletionTokens == 0 {
		return errors.New("an empty answer")
	}
	return nil
}

func respond(ctx context.Context) error {
	answer, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model: chatModel, MaxOutputTokens: openai.Int(16),
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Say hello.")},
	})
	if err != nil {
		return err
	}
	if answer.OutputText() == "" {
		return errors.New("an empty answer")
	}
	return nil
}

func embed(ctx context.Context) error {
	answer, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: embeddingModel,
		Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a happy person", "a sunny day"}},
	})
	if err != nil {
		return err
	}
	if len(answer.Data) != 2 || len(answer.Data[0].Embedding) != 384 {
		return errors.New("wrong vectors")
	}
	return nil
}

func models(ctx context.Context) error {
	list, err := client.Models.List(ctx)
	if err != nil {
		return err
	}
	for _, model := range list.Data {
		if model.ID == chatModel {
			return nil
		}
	}
	return errors.New("the model is not listed")
}

func typedErrors(ctx context.Context) error {
	_, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{Model: "no-such", Messages: question})
	var failure *openai.Error
	if !errors.As(err, &failure) || failure.StatusCode != 404 || failure.Code != "model_not_found" {
		return fmt.Errorf("not a typed 404: %v", err)
	}
	return nil
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if strings.HasPrefix(dependency.Path, "github.com/openai/openai-go") {
			return strings.TrimPrefix(dependency.Version, "v")
		}
	}
	return "unknown"
}

func print(line map[string]any) {
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}
