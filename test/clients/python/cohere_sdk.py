from check import *
import cohere

DOCUMENTS = ["Berlin is a city in Germany.", "Bananas are yellow.", "Paris is the capital of France."]


def holds(results, top):
    assert len(results) == top, f"{len(results)} results"
    scores = [result.relevance_score for result in results]
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores), scores
    assert results[0].index == 2, f"the best is {results[0].index}"


@check("rerank, version 2")
def second():
    client = cohere.ClientV2(api_key=API_KEY, base_url=ROOT_URL)
    answer = client.rerank(model=EMBEDDING_MODEL, query="What is the capital of France?", documents=DOCUMENTS, top_n=2)
    holds(answer.results, 2)


@check("rerank, version 1")
def first():
    client = cohere.Client(api_key=API_KEY, base_url=ROOT_URL)
    answer = client.rerank(model=EMBEDDING_MODEL, query="What is the capital of France?", documents=DOCUMENTS)
    holds(answer.results, 3)


run("cohere")
