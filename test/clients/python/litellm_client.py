from check import *
import litellm

litellm.num_retries = 0
CHAT = {"model": f"openai/{CHAT_MODEL}", "api_base": BASE_URL, "api_key": API_KEY, "max_tokens": 16,
        "messages": [{"role": "user", "content": "Say hello."}]}


@check("chat")
def chat():
    answer = litellm.completion(**CHAT)
    assert answer.choices[0].message.content and answer.usage.total_tokens > 0


@check("chat, streamed")
def streamed():
    chunks = list(litellm.completion(**CHAT, stream=True, stream_options={"include_usage": True}))
    whole = litellm.stream_chunk_builder(chunks)
    assert whole.choices[0].message.content and whole.usage.completion_tokens > 0


@check("Anthropic's dialect")
def anthropic():
    answer = litellm.completion(**{**CHAT, "model": f"anthropic/{CHAT_MODEL}", "api_base": ROOT_URL})
    assert answer.choices[0].message.content


@check("embeddings")
def embeddings():
    answer = litellm.embedding(
        model=f"openai/{EMBEDDING_MODEL}", input=SENTENCES, api_base=BASE_URL, api_key=API_KEY, encoding_format="float")
    same_direction([item["embedding"] for item in answer.data])


@check("rerank")
def rerank():
    answer = litellm.rerank(
        model=f"cohere/{EMBEDDING_MODEL}", query="What is the capital of France?", top_n=2, api_key=API_KEY,
        api_base=ROOT_URL + "/v1/rerank", documents=["Bananas are yellow.", "Paris is the capital of France."])
    assert answer.results[0]["index"] == 1


@check("typed errors")
def errors():
    try:
        litellm.completion(**{**CHAT, "api_key": "wrong"})
        raise AssertionError("accepted")
    except litellm.AuthenticationError:
        pass


run("litellm")
