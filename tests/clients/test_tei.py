"""TEI's routes by Hugging Face's client, which posts to the address it is given, and by hand what
that client has no call for; Jina's reranking, which has no client of its own, by hand too."""

import httpx
import numpy
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from conftest import QUERY, TEXTS


@pytest.fixture
def client(url, key):
    return InferenceClient(model=f"{url}/embed", token=key)


@pytest.fixture
def by_hand(url, key):
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def test_vectors_of_one_text_and_of_several(client):
    one = client.feature_extraction(TEXTS[0])
    several = client.feature_extraction(TEXTS)
    assert one.shape[0] == 1 and several.shape[0] == 3
    assert numpy.allclose(one[0], several[0], atol=1e-5)
    assert numpy.allclose(numpy.linalg.norm(several, axis=1), 1, atol=1e-5)


def test_what_can_be_asked_of_them(client):
    plain = client.feature_extraction(TEXTS[0])
    raw = client.feature_extraction(TEXTS[0], normalize=False)
    assert numpy.allclose(raw / numpy.linalg.norm(raw), plain, atol=1e-4)
    assert abs(numpy.linalg.norm(raw) - 1) > 0.01
    query = client.feature_extraction(TEXTS[0], prompt_name="query")
    assert not numpy.allclose(query, plain, atol=1e-3)
    assert client.feature_extraction(TEXTS[0], dimensions=32).shape == (1, 32)
    long = "长" * 9000
    cut = client.feature_extraction(long, truncate=True, truncation_direction="right")
    assert cut.shape == plain.shape
    with pytest.raises(HfHubHTTPError) as raised:
        client.feature_extraction(long, truncate=False)
    assert raised.value.response.status_code == 413
    assert raised.value.response.json()["error_type"] == "Validation"


def test_keys(url, lesser_key):
    for key, status in [("unknown", 401), (lesser_key, 403)]:
        with pytest.raises(HfHubHTTPError) as raised:
            InferenceClient(model=f"{url}/embed", token=key).feature_extraction("x")
        assert raised.value.response.status_code == status
        assert set(raised.value.response.json()) == {"error", "error_type"}


def test_rerank_and_info_of_tei(by_hand):
    ranks = by_hand.post("/rerank", json={"query": QUERY, "texts": TEXTS, "return_text": True})
    ranks = ranks.raise_for_status().json()
    assert [set(rank) for rank in ranks] == [{"index", "score", "text"}] * 3
    assert ranks[0]["text"] == TEXTS[0]
    scores = [rank["score"] for rank in ranks]
    assert scores == sorted(scores, reverse=True)
    info = by_hand.get("/info").raise_for_status().json()
    assert info["model_id"] and info["max_input_length"] > 0
    assert "embedding" in info["model_type"]


def test_rerank_of_jina(by_hand):
    body = {"model": "champion", "query": QUERY, "documents": [{"text": TEXTS[1]}, TEXTS[0]]}
    answer = by_hand.post("/v1/rerank", json=body).raise_for_status().json()
    assert set(answer) == {"model", "usage", "results"}
    assert answer["results"][0]["index"] == 1
    assert answer["results"][0]["document"] == {"text": TEXTS[0]}
    refused = by_hand.post("/v1/rerank", json={**body, "top_n": 0})
    assert refused.status_code == 422 and isinstance(refused.json()["detail"], str)
