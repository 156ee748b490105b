"""Streamlit's chat sample, driven by its own test driver."""
from check import *
from streamlit.testing.v1 import AppTest

APP = """
import os
import streamlit as st
from openai import OpenAI

client = OpenAI(base_url=os.environ["COLONNADE_BASE_URL"], api_key=os.environ["COLONNADE_API_KEY"])
if prompt := st.chat_input("Say something"):
    st.chat_message("user").write(prompt)
    stream = client.chat.completions.create(
        model=os.environ["COLONNADE_CHAT_MODEL"], messages=[{"role": "user", "content": prompt}],
        max_tokens=16, stream=True)
    st.chat_message("assistant").write_stream(stream)
"""


@check("a chat app")
def app():
    page = AppTest.from_string(APP, default_timeout=120).run()
    page.chat_input[0].set_value("Say hello.").run()
    assert not page.exception, page.exception
    assert page.chat_message[1].markdown[0].value.strip()


run("streamlit")
