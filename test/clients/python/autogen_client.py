from check import *
from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import UserMessage
from autogen_core.tools import FunctionTool
from autogen_ext.models.openai import OpenAIChatCompletionClient


def client(**options):
    return OpenAIChatCompletionClient(
        model=CHAT_MODEL, base_url=BASE_URL, api_key=API_KEY, max_tokens=32, max_retries=0,
        model_info={
            "vision": False, "function_calling": True, "json_output": True, "family": "unknown",
            "structured_output": True,
        }, **options)


@check("chat")
async def chat():
    answer = await client().create([UserMessage(content="Say hello.", source="user")])
    assert answer.content and answer.usage.completion_tokens > 0


@check("chat, streamed")
async def streamed():
    pieces = [piece async for piece in client().create_stream([UserMessage(content="Say hello.", source="user")])]
    assert pieces[-1].content


@check("tools")
async def tools():
    async def weather(city: str) -> str:
        return f"It is sunny in {city}."

    answer = await client().create(
        [UserMessage(content="What is the weather in Paris?", source="user")],
        tools=[FunctionTool(weather, description="The weather in a city.")], tool_choice="required")
    assert answer.content[0].name == "weather" and "city" in json.loads(answer.content[0].arguments)


@check("an agent")
async def agent():
    assistant = AssistantAgent("assistant", model_client=client())
    result = await assistant.run(task="Say hello.")
    assert result.messages[-1].content


run("autogen-ext")
