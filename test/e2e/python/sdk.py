"""What a user of OpenAI's SDK for Python does, against the real engine and the default models.

Runs under unittest and prints one JSON line for each test: {"name", "outcome", "detail"}. The file sdk-python.test.ts starts it and
turns each line into a test of its own.
"""

import json
import os
import sys
import unittest

import openai

MODEL = os.environ["CHAT_MODEL"]
EMBEDDER = os.environ["EMBEDDING_MODEL"]
LIMITED = os.environ["LIMITED_MODEL"]
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Paris", "Rome"]},
                "unit": {"type": "string", "enum": ["c", "f"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}

client = openai.OpenAI(
    base_url=os.environ["API_URL"], api_key=os.environ["API_KEY"], max_retries=0
)


def chat(**fields):
    request = {"model": MODEL, "temperature": 0, "max_completion_tokens": 32, "messages": CAPITAL}
    return client.chat.completions.create(**{**request, **fields})


class Sdk(unittest.TestCase):
    def test_chat_answers_paris(self):
        completion = chat()
        self.assertIn("Paris", completion.choices[0].message.content)
        usage = completion.usage
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)

    def test_stream_joins_to_the_whole_answer_with_usage(self):
        whole = chat(seed=7)
        chunks = list(chat(seed=7, stream=True, stream_options={"include_usage": True}))
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(len([c for c in chunks if c.choices and c.choices[0].finish_reason]), 1)
        self.assertEqual(chunks[-1].usage.completion_tokens, whole.usage.completion_tokens)

    def test_required_tool_is_called_with_valid_arguments(self):
        # A model this small would go on calling until its tokens are used up.
        once = {"tool_choice": "required", "parallel_tool_calls": False}
        completion = chat(tools=[WEATHER], max_completion_tokens=96, **once)
        choice = completion.choices[0]
        self.assertEqual(choice.finish_reason, "tool_calls")
        arguments = json.loads(choice.message.tool_calls[0].function.arguments)
        self.assertIn(arguments["unit"], ["c", "f"])

    def test_named_tool_is_called(self):
        named = {"type": "function", "function": {"name": "get_weather"}}
        completion = chat(tools=[WEATHER], tool_choice=named, max_completion_tokens=96)
        self.assertEqual(completion.choices[0].message.tool_calls[0].function.name, "get_weather")

    def test_streamed_tool_arguments_join_to_json(self):
        once = {"tool_choice": "required", "parallel_tool_calls": False}
        stream = chat(tools=[WEATHER], stream=True, max_completion_tokens=96, **once)
        pieces = [p for c in stream if c.choices for p in (c.choices[0].delta.tool_calls or [])]
        text = "".join(p.function.arguments or "" for p in pieces if p.index == 0)
        self.assertEqual(sorted(json.loads(text)), ["city", "unit"])

    def test_json_schema_is_followed(self):
        schema = {
            "type": "object",
            "properties": {"country": {"type": "string", "enum": ["France", "Spain"]}},
            "required": ["country"],
            "additionalProperties": False,
        }
        answer_format = {
            "type": "json_schema",
            "json_schema": {"name": "place", "strict": True, "schema": schema},
        }
        completion = chat(response_format=answer_format)
        self.assertIn(
            json.loads(completion.choices[0].message.content)["country"], ["France", "Spain"]
        )

    def test_embeddings_default_encoding_has_all_dimensions(self):
        # The SDK asks for base64 by itself; a server that answers floats in the wrong type gives a quarter of them.
        response = client.embeddings.create(model=EMBEDDER, input=["one", "two"])
        self.assertEqual([len(item.embedding) for item in response.data], [384, 384])
        length = sum(x * x for x in response.data[0].embedding) ** 0.5
        self.assertAlmostEqual(length, 1, places=3)

    def test_embeddings_rank_related_above_unrelated(self):
        sentences = json.loads(os.environ["SENTENCES"])
        response = client.embeddings.create(model=EMBEDDER, input=sentences)
        query, *rest = [item.embedding for item in response.data]
        scores = [sum(a * b for a, b in zip(query, vector)) for vector in rest]
        self.assertGreater(min(scores[:3]), max(scores[3:]))

    def test_models_are_listed_and_retrieved(self):
        ids = [model.id for model in client.models.list()]
        self.assertIn(MODEL, ids)
        self.assertIn(EMBEDDER, ids)
        self.assertEqual(client.models.retrieve(MODEL).id, MODEL)

    def test_wrong_key_is_an_authentication_error(self):
        stranger = client.with_options(api_key="wrong")
        with self.assertRaises(openai.AuthenticationError) as caught:
            stranger.models.list()
        self.assertEqual(caught.exception.status_code, 401)
        self.assertEqual(caught.exception.code, "invalid_api_key")

    def test_unknown_model_is_a_not_found_error(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            chat(model="no-such-model")
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertTrue(caught.exception.request_id.startswith("req_"))

    def test_bad_request_is_a_bad_request_error(self):
        with self.assertRaises(openai.BadRequestError):
            chat(temperature=99)

    def test_rate_limit_is_a_rate_limit_error(self):
        with self.assertRaises(openai.RateLimitError) as caught:
            chat(model=LIMITED)
        self.assertEqual(caught.exception.code, "rate_limit_exceeded")

    def test_cancelled_stream_frees_the_connection(self):
        stream = chat(stream=True, max_completion_tokens=300)
        for _ in zip(range(3), stream):
            pass
        stream.close()
        self.assertTrue(chat(max_completion_tokens=4).choices[0].message.content)


class JsonLines(unittest.TestResult):
    def startTest(self, test):
        super().startTest(test)
        self.outcome, self.detail = "passed", ""

    def addFailure(self, test, err):
        self.outcome, self.detail = "failed", self._exc_info_to_string(err, test)

    addError = addFailure

    def stopTest(self, test):
        super().stopTest(test)
        line = {"name": test._testMethodName, "outcome": self.outcome, "detail": self.detail}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    unittest.defaultTestLoader.loadTestsFromTestCase(Sdk).run(JsonLines())
    sys.exit(0)
