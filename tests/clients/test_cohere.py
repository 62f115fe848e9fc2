"""Cohere's own client: `rerank` of its second version, and the exceptions of refusals."""

import cohere
import pytest
from cohere.errors import BadRequestError, ForbiddenError, NotFoundError, UnauthorizedError

from conftest import QUERY, TEXTS


@pytest.fixture
def client(url, key):
    return cohere.ClientV2(api_key=key, base_url=url)


def test_documents_come_best_first(client):
    answer = client.rerank(model="champion", query=QUERY, documents=TEXTS)
    scores = [result.relevance_score for result in answer.results]
    assert answer.results[0].index == 0
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
    assert sorted(result.index for result in answer.results) == [0, 1, 2]
    assert answer.id
    assert answer.meta.api_version.version == "2"
    assert answer.meta.billed_units.search_units == 1


def test_only_the_best_are_given(client):
    answer = client.rerank(
        model="champion", query=QUERY, documents=TEXTS, top_n=1, max_tokens_per_doc=100
    )
    assert [result.index for result in answer.results] == [0]


@pytest.mark.parametrize(
    "request_, error",
    [
        ({"documents": []}, BadRequestError),
        ({"query": " "}, BadRequestError),
        ({"top_n": 0}, BadRequestError),
        ({"max_tokens_per_doc": 0}, BadRequestError),
        ({"relevant_spans": {"mode": "enabled"}}, BadRequestError),
        ({"model": "rerank-v3.5"}, NotFoundError),
    ],
)
def test_refusals_are_the_right_exceptions(client, request_, error):
    with pytest.raises(error) as raised:
        client.rerank(**{"model": "champion", "query": QUERY, "documents": TEXTS, **request_})
    assert raised.value.body["message"]
    assert raised.value.body["id"].startswith("req_")


def test_keys(url, lesser_key):
    for key, error in [("unknown", UnauthorizedError), (lesser_key, ForbiddenError)]:
        client = cohere.ClientV2(api_key=key, base_url=url)
        with pytest.raises(error):
            client.rerank(model="champion", query=QUERY, documents=TEXTS)
