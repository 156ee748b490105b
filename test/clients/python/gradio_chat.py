"""Gradio's chat interface in a server of its own, asked by Gradio's client."""
from check import *
import gradio
from gradio_client import Client
from openai import OpenAI

client = OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120)


def respond(message, history):
    text = ""
    stream = client.chat.completions.create(
        model=CHAT_MODEL, messages=[{"role": "user", "content": message}], max_tokens=16, stream=True)
    for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        yield text


@check("a chat interface")
def interface():
    app = gradio.ChatInterface(respond)
    _, url, _ = app.launch(prevent_thread_lock=True, server_name="127.0.0.1", quiet=True)
    try:
        assert Client(url, verbose=False).predict("Say hello.", api_name="/respond")
    finally:
        app.close()


run("gradio")
