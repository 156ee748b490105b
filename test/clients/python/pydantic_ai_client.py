from check import *
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=BASE_URL, api_key=API_KEY)
settings = {"max_tokens": 64, "temperature": 0.0}


@check("an agent")
async def agent():
    result = await Agent(OpenAIChatModel(CHAT_MODEL, provider=provider), model_settings=settings).run("Say hello.")
    assert result.output


@check("an agent, streamed")
async def streamed():
    async with Agent(OpenAIChatModel(CHAT_MODEL, provider=OpenAIProvider(base_url=BASE_URL, api_key=API_KEY)),
                     model_settings=settings).run_stream("Say hello.") as stream:
        assert "".join([piece async for piece in stream.stream_text(delta=True)])


@check("typed output by a tool")
async def typed():
    class Person(BaseModel):
        name: str
        age: int

    model = OpenAIChatModel(CHAT_MODEL, provider=OpenAIProvider(base_url=BASE_URL, api_key=API_KEY))
    result = await Agent(model, output_type=Person, model_settings=settings).run("Ann is 30 years old.")
    assert isinstance(result.output, Person)


@check("an agent over the Responses API")
async def responses():
    model = OpenAIResponsesModel(CHAT_MODEL, provider=OpenAIProvider(base_url=BASE_URL, api_key=API_KEY))
    assert (await Agent(model, model_settings=settings).run("Say hello.")).output


@check("an agent in Anthropic's dialect")
async def anthropic():
    import anthropic as sdk

    model = AnthropicModel(CHAT_MODEL, provider=AnthropicProvider(
        anthropic_client=sdk.AsyncAnthropic(base_url=ROOT_URL, api_key=API_KEY)))
    assert (await Agent(model, model_settings=settings).run("Say hello.")).output


run("pydantic-ai-slim")
