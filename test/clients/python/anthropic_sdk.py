from check import *
import anthropic

client = anthropic.Anthropic(base_url=ROOT_URL, api_key=API_KEY, max_retries=0, timeout=120)
QUESTION = [{"role": "user", "content": "Say hello."}]


@check("messages")
def messages():
    answer = client.messages.create(model=CHAT_MODEL, max_tokens=16, messages=QUESTION, system="You are kind.")
    assert answer.content[0].type == "text" and answer.content[0].text
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    assert answer.stop_reason in ("end_turn", "max_tokens")


@check("messages, streamed")
def streamed():
    with client.messages.stream(model=CHAT_MODEL, max_tokens=16, messages=QUESTION) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text and final.content[0].text == text and final.usage.output_tokens > 0


@check("tools, both ways")
def tools():
    tool = {"name": "weather", "description": "The weather in a city.", "input_schema": WEATHER_SCHEMA}
    question = {"role": "user", "content": "What is the weather in Paris?"}
    answer = client.messages.create(
        model=CHAT_MODEL, max_tokens=256, messages=[question], tools=[tool], extra_body={"temperature": 0},
        tool_choice={"type": "any"},
    )
    call = answer.content[-1]
    assert call.type == "tool_use" and call.name == "weather" and "city" in call.input
    assert answer.stop_reason == "tool_use", answer.stop_reason
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 20 degrees."}
    after = client.messages.create(
        model=CHAT_MODEL, max_tokens=16, tools=[tool], tool_choice={"type": "none"},
        messages=[question, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}],
    )
    assert after.content[0].text


@check("counted tokens are billed tokens")
def counting():
    counted = client.messages.count_tokens(model=CHAT_MODEL, messages=QUESTION).input_tokens
    usage = client.messages.create(model=CHAT_MODEL, max_tokens=1, messages=QUESTION).usage
    used = usage.input_tokens + usage.cache_read_input_tokens
    assert counted == used, f"{counted} counted, {used} billed"


@check("typed errors")
def errors():
    try:
        client.messages.create(model="no-such", max_tokens=1, messages=QUESTION)
        raise AssertionError("accepted")
    except anthropic.NotFoundError as error:
        assert error.body["type"] == "error" and error.body["error"]["type"] == "not_found_error"
    try:
        anthropic.Anthropic(base_url=ROOT_URL, api_key="wrong").messages.create(
            model=CHAT_MODEL, max_tokens=1, messages=QUESTION)
        raise AssertionError("accepted")
    except anthropic.AuthenticationError:
        pass


run("anthropic")
