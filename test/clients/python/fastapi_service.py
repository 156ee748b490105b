"""A service of FastAPI that passes a stream on."""
from check import *
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from openai import AsyncOpenAI

app = FastAPI()
client = AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120)


@app.get("/ask")
async def ask(question: str):
    async def pieces():
        stream = await client.chat.completions.create(
            model=CHAT_MODEL, messages=[{"role": "user", "content": question}], max_tokens=16, stream=True)
        async for chunk in stream:
            yield chunk.choices[0].delta.content or ""

    return StreamingResponse(pieces(), media_type="text/plain")


@check("a service that streams")
def service():
    with TestClient(app) as caller:
        answer = caller.get("/ask", params={"question": "Say hello."})
    assert answer.status_code == 200 and answer.text.strip()


run("fastapi")
