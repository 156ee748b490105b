from check import *
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike


def model(**options):
    return OpenAILike(
        model=CHAT_MODEL, api_base=BASE_URL, api_key=API_KEY, is_chat_model=True, max_tokens=16, max_retries=0, **options)


@check("chat")
def chat():
    assert model().chat([ChatMessage(role="user", content="Say hello.")]).message.content


@check("chat, streamed")
def streamed():
    assert "".join(part.delta or "" for part in model().stream_chat([ChatMessage(role="user", content="Say hello.")]))


@check("completion")
def completion():
    plain = OpenAILike(
        model=CHAT_MODEL, api_base=BASE_URL, api_key=API_KEY, is_chat_model=False, max_tokens=8, max_retries=0)
    assert plain.complete("Once upon a time").text


@check("embeddings")
def embeddings():
    embedder = OpenAILikeEmbedding(model_name=EMBEDDING_MODEL, api_base=BASE_URL, api_key=API_KEY)
    same_direction(embedder.get_text_embedding_batch(SENTENCES))


run("llama-index-llms-openai-like")
