"""OpenAI's own client: vectors in both encodings, models, and the exceptions of refusals."""

import asyncio

import numpy
import openai
import pytest

from conftest import MODEL, TEXTS


@pytest.fixture
def client(url, key):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def vectors(answer):
    return numpy.array([item.embedding for item in answer.data])


def test_vectors_are_the_same_in_both_encodings(client):
    # The client asks for base64 by itself and decodes it.
    packed = client.embeddings.create(model="champion", input=TEXTS)
    plain = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    assert vectors(packed).shape[0] == 3
    assert numpy.allclose(vectors(packed), vectors(plain), atol=1e-6)
    assert numpy.allclose(numpy.linalg.norm(vectors(plain), axis=1), 1, atol=1e-5)
    assert [item.index for item in plain.data] == [0, 1, 2]
    assert (packed.object, packed.model) == ("list", MODEL)
    assert packed.usage.total_tokens == packed.usage.prompt_tokens > 10


def test_dimensions_are_cut_and_normalised(client):
    whole = vectors(client.embeddings.create(model="champion", input=TEXTS))
    short = vectors(client.embeddings.create(model="champion", input=TEXTS, dimensions=64))
    assert short.shape == (3, 64)
    head = whole[:, :64] / numpy.linalg.norm(whole[:, :64], axis=1, keepdims=True)
    assert numpy.allclose(short, head, atol=1e-5)


def test_queries_have_their_instruction(client):
    create = client.embeddings.create
    document = vectors(create(model="champion", input=TEXTS[0], user="somebody"))
    query = vectors(create(model="champion", input=TEXTS[0], extra_body={"input_type": "query"}))
    assert not numpy.allclose(document, query, atol=1e-3)


def test_the_asynchronous_client_gets_the_same(client, url, key):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as other:
            return await other.embeddings.create(model="champion", input=TEXTS)

    plain = client.embeddings.create(model="champion", input=TEXTS)
    assert numpy.allclose(vectors(asyncio.run(ask())), vectors(plain), atol=1e-6)


def test_models_are_listed_and_retrieved(client):
    models = client.models.list().data
    assert MODEL in [model.id for model in models]
    assert {model.object for model in models} == {"model"}
    model = client.models.retrieve("champion")
    assert (model.id, model.owned_by) == (MODEL, "querent")
    assert model.created > 1_700_000_000


@pytest.mark.parametrize(
    "request_, error, code, param",
    [
        ({"input": ""}, openai.BadRequestError, "empty_input", "input"),
        ({"input": []}, openai.BadRequestError, "empty_input", "input"),
        ({"input": [[15339, 1917]]}, openai.BadRequestError, "token_input", "input"),
        ({"input": ["x"] * 2049}, openai.BadRequestError, "too_many_inputs", "input"),
        ({"input": "长" * 9000}, openai.BadRequestError, "input_too_long", "input"),
        ({"input": "x", "dimensions": 0}, openai.BadRequestError, "invalid_request", "dimensions"),
        (
            {"input": "x", "dimensions": 4096},
            openai.BadRequestError,
            "invalid_dimensions",
            "dimensions",
        ),
        ({"input": "x", "model": "gpt-4"}, openai.NotFoundError, "model_not_found", "model"),
    ],
)
def test_refusals_are_the_right_exceptions(client, request_, error, code, param):
    with pytest.raises(error) as raised:
        client.embeddings.create(**{"model": "champion", **request_})
    assert (raised.value.code, raised.value.param) == (code, param)
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id


def test_unknown_models_and_keys(client, url, lesser_key):
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("gpt-4")
    assert raised.value.code == "model_not_found"
    stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-unknown", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as raised:
        stranger.embeddings.create(model="champion", input="x")
    assert raised.value.code == "invalid_api_key"
    lesser = openai.OpenAI(base_url=f"{url}/v1", api_key=lesser_key, max_retries=0)
    with pytest.raises(openai.PermissionDeniedError) as raised:
        lesser.embeddings.create(model="champion", input="x")
    assert raised.value.code == "scope_missing"
    assert lesser.models.list().data, "any key may list models"


def test_a_body_over_the_limit_names_the_setting(client):
    with pytest.raises(openai.APIStatusError) as raised:
        client.embeddings.create(model="champion", input="x" * 20_000_000)
    assert raised.value.status_code == 413
    assert "max_body_bytes" in raised.value.message
