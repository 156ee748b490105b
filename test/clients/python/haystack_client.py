from check import *
from haystack import Pipeline
from haystack.components.embedders import OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret

KEY = Secret.from_token(API_KEY)


@check("chat in a pipeline")
def chat():
    pipeline = Pipeline()
    pipeline.add_component("chat", OpenAIChatGenerator(
        api_key=KEY, model=CHAT_MODEL, api_base_url=BASE_URL, generation_kwargs={"max_tokens": 16}))
    replies = pipeline.run({"chat": {"messages": [ChatMessage.from_user("Say hello.")]}})["chat"]["replies"]
    assert replies[0].text


@check("chat, streamed")
def streamed():
    pieces = []
    generator = OpenAIChatGenerator(
        api_key=KEY, model=CHAT_MODEL, api_base_url=BASE_URL, generation_kwargs={"max_tokens": 16},
        streaming_callback=lambda chunk: pieces.append(chunk.content))
    generator.run([ChatMessage.from_user("Say hello.")])
    assert "".join(pieces)


@check("embeddings")
def embeddings():
    embedder = OpenAITextEmbedder(api_key=KEY, model=EMBEDDING_MODEL, api_base_url=BASE_URL)
    same_direction([embedder.run(sentence)["embedding"] for sentence in SENTENCES])


run("haystack-ai")
