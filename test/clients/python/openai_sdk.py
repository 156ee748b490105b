from check import *
import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

client = OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120)
asynchronous = AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120)
QUESTION = [{"role": "user", "content": "Say hello."}]


@check("chat")
def chat():
    answer = client.chat.completions.create(model=CHAT_MODEL, messages=QUESTION, max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@check("chat, streamed")
def streamed():
    stream = client.chat.completions.create(
        model=CHAT_MODEL, messages=QUESTION, max_tokens=16, stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert chunks[-1].usage.completion_tokens > 0 and chunks[-1].choices == []


@check("chat, streamed, asynchronous")
async def streamed_asynchronous():
    stream = await asynchronous.chat.completions.create(
        model=CHAT_MODEL, messages=QUESTION, max_tokens=16, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


@check("tools")
def tools():
    tool = {"type": "function", "function": {"name": "weather", "parameters": WEATHER_SCHEMA}}
    answer = client.chat.completions.create(
        model=CHAT_MODEL, messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[tool], tool_choice="required", max_tokens=128, temperature=0,
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather" and "city" in json.loads(call.function.arguments)


@check("structured output")
def structured():
    class Person(BaseModel):
        name: str
        age: int

    answer = client.chat.completions.parse(
        model=CHAT_MODEL, messages=[{"role": "user", "content": "Ann is 30 years old. Fill the form."}],
        response_format=Person, max_tokens=64, temperature=0,
    )
    assert isinstance(answer.choices[0].message.parsed, Person)


@check("text completion")
def completion():
    answer = client.completions.create(model=CHAT_MODEL, prompt="Once upon a time", max_tokens=8)
    assert answer.choices[0].text and answer.object == "text_completion"


@check("responses")
def responses():
    answer = client.responses.create(model=CHAT_MODEL, input="Say hello.", max_output_tokens=16, store=False)
    assert answer.output_text and answer.usage.total_tokens > 0


@check("responses, streamed")
def responses_streamed():
    with client.responses.stream(model=CHAT_MODEL, input="Say hello.", max_output_tokens=16) as stream:
        kinds = [event.type for event in stream]
    assert kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete"), kinds
    assert "response.output_text.delta" in kinds


@check("embeddings")
def embeddings():
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input=SENTENCES)
    same_direction([item.embedding for item in answer.data])


@check("batch")
def batch():
    import io

    line = {
        "custom_id": "one", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": CHAT_MODEL, "messages": QUESTION, "max_tokens": 8},
    }
    upload = client.files.create(file=("lines.jsonl", io.BytesIO(json.dumps(line).encode())), purpose="batch")
    made = client.batches.create(input_file_id=upload.id, endpoint="/v1/chat/completions", completion_window="24h")
    until = time.monotonic() + 90
    while made.status not in ("completed", "failed", "expired", "cancelled") and time.monotonic() < until:
        time.sleep(0.5)
        made = client.batches.retrieve(made.id)
    assert made.status == "completed" and made.request_counts.completed == 1, made.status
    result = json.loads(client.files.content(made.output_file_id).text)
    assert result["custom_id"] == "one" and result["response"]["status_code"] == 200
    client.files.delete(upload.id)


@check("models")
def models():
    assert CHAT_MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(CHAT_MODEL).id == CHAT_MODEL


@check("typed errors")
def errors():
    for call, wanted in [
        (lambda: client.chat.completions.create(model="no-such", messages=QUESTION), openai.NotFoundError),
        (lambda: client.chat.completions.create(model=CHAT_MODEL, messages=[]), openai.BadRequestError),
        (lambda: client.with_options(api_key="wrong").models.list(), openai.AuthenticationError),
    ]:
        try:
            call()
        except wanted:
            continue
        raise AssertionError(f"no {wanted.__name__}")


run("openai")
