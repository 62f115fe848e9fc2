"""The server that `run` has started: its address, a key with every scope, and one with few."""

import os

import pytest

TEXTS = ["客户画像可以导出为表格", "Leads are assigned by region.", "星期五下午"]
QUERY = "怎么导出客户画像"
MODEL = "starter-embedder@1"


@pytest.fixture(scope="session")
def url() -> str:
    return os.environ["CLIENT_URL"]


@pytest.fixture(scope="session")
def key() -> str:
    return os.environ["CLIENT_KEY"]


@pytest.fixture(scope="session")
def lesser_key() -> str:
    """A key without the scope `embed`."""
    return os.environ["CLIENT_LESSER_KEY"]
