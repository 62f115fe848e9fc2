"""LangChain's and LlamaIndex's embeddings, which go through OpenAI's shape."""

import numpy
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

from conftest import QUERY, TEXTS


@pytest.fixture
def expected(url, key):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key)
    answer = client.embeddings.create(model="champion", input=TEXTS)
    return numpy.array([item.embedding for item in answer.data])


def test_langchain(url, key, expected):
    embeddings = OpenAIEmbeddings(
        model="champion",
        base_url=f"{url}/v1",
        api_key=key,
        check_embedding_ctx_length=False,
    )
    assert numpy.allclose(embeddings.embed_documents(TEXTS), expected, atol=1e-6)
    nearest = numpy.argmax(expected @ numpy.array(embeddings.embed_query(QUERY)))
    assert nearest == 0
    short = OpenAIEmbeddings(
        model="champion",
        base_url=f"{url}/v1",
        api_key=key,
        dimensions=32,
        check_embedding_ctx_length=False,
    )
    assert len(short.embed_query(QUERY)) == 32


def test_llama_index(url, key, expected):
    for embedding in [
        OpenAILikeEmbedding(model_name="champion", api_base=f"{url}/v1", api_key=key),
        OpenAIEmbedding(model_name="champion", api_base=f"{url}/v1", api_key=key),
    ]:
        found = embedding.get_text_embedding_batch(TEXTS)
        assert numpy.allclose(found, expected, atol=1e-6)
        assert numpy.argmax(expected @ numpy.array(embedding.get_query_embedding(QUERY))) == 0
