from check import *
from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import (
    OpenAIChatCompletion, OpenAIChatPromptExecutionSettings, OpenAITextEmbedding)
from semantic_kernel.contents import ChatHistory

client = AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120)
settings = OpenAIChatPromptExecutionSettings(max_tokens=16)


def history():
    messages = ChatHistory()
    messages.add_user_message("Say hello.")
    return messages


@check("chat")
async def chat():
    service = OpenAIChatCompletion(ai_model_id=CHAT_MODEL, async_client=client)
    answer = await service.get_chat_message_content(history(), settings)
    assert str(answer)


@check("chat, streamed")
async def streamed():
    service = OpenAIChatCompletion(ai_model_id=CHAT_MODEL, async_client=AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY))
    pieces = [str(piece) async for piece in service.get_streaming_chat_message_content(history(), settings)]
    assert "".join(pieces)


@check("embeddings")
async def embeddings():
    service = OpenAITextEmbedding(
        ai_model_id=EMBEDDING_MODEL, async_client=AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY))
    vectors = await service.generate_embeddings(SENTENCES)
    same_direction([list(map(float, vector)) for vector in vectors])


run("semantic-kernel")
