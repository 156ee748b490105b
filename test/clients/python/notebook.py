"""A notebook as a user would write it, run by a real kernel."""
from check import *
import nbformat
from nbclient import NotebookClient


@check("a notebook")
def notebook():
    book = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell(
            "import os\nfrom openai import OpenAI\n"
            "client = OpenAI(base_url=os.environ['COLONNADE_BASE_URL'], api_key=os.environ['COLONNADE_API_KEY'])"),
        nbformat.v4.new_code_cell(
            "for chunk in client.chat.completions.create(model=os.environ['COLONNADE_CHAT_MODEL'], stream=True,\n"
            "        messages=[{'role': 'user', 'content': 'Say hello.'}], max_tokens=16):\n"
            "    print(chunk.choices[0].delta.content or '', end='')"),
    ])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    assert book.cells[1].outputs[0]["text"].strip()


run("nbclient")
