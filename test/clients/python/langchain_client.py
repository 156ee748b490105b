from check import *
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


def chat_model(**options):
    return ChatOpenAI(model=CHAT_MODEL, base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120, **options)


@check("ChatOpenAI")
def chat():
    answer = chat_model(max_tokens=16).invoke("Say hello.")
    assert answer.content and answer.usage_metadata["total_tokens"] > 0


@check("ChatOpenAI, streamed, with usage")
def streamed():
    whole = None
    for chunk in chat_model(max_tokens=16, stream_usage=True).stream("Say hello."):
        whole = chunk if whole is None else whole + chunk
    assert whole.content and whole.usage_metadata["output_tokens"] > 0


@check("ChatOpenAI over the Responses API")
def responses():
    answer = chat_model(max_tokens=16, use_responses_api=True).invoke("Say hello.")
    assert answer.text


@check("bound tools")
def tools():
    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return "sunny"

    bound = chat_model(max_tokens=128, temperature=0).bind_tools([weather], tool_choice="any")
    call = bound.invoke("What is the weather in Paris?").tool_calls[0]
    assert call["name"] == "weather" and "city" in call["args"]


@check("structured output")
def structured():
    class Person(BaseModel):
        name: str
        age: int

    bound = chat_model(max_tokens=64, temperature=0).with_structured_output(Person, method="json_schema")
    assert isinstance(bound.invoke("Ann is 30 years old."), Person)


@check("OpenAIEmbeddings, which sends token arrays")
def embeddings():
    model = OpenAIEmbeddings(model=EMBEDDING_MODEL, base_url=BASE_URL, api_key=API_KEY, check_embedding_ctx_length=False)
    same_direction(model.embed_documents(SENTENCES))
    # The tokens are of OpenAI's vocabulary, so the vectors mean nothing here; what counts is that they are taken and returned.
    tokens = OpenAIEmbeddings(model=EMBEDDING_MODEL, base_url=BASE_URL, api_key=API_KEY, tiktoken_enabled=True)
    tokens._tokenize = None
    answer = tokens.client.create(input=[[101, 2023, 102], [101, 2003, 102]], model=EMBEDDING_MODEL)
    assert len(answer.data) == 2


run("langchain-openai")
