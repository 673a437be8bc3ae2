"""What is taken out of texts, and what is left in them."""

from __future__ import annotations

import pytest

from harness.core.redaction import masked

LEAKS = {
    "http://ann:s3cret@host:5000/api": "http://***@host:5000/api",
    "postgresql+psycopg2://ann:s3cret@host/db": "postgresql+psycopg2://***@host/db",
    "https://s3cret@github.com/x": "https://***@github.com/x",
    "(postgresql://ann:s3c/r@et@host/db)": "(postgresql://***@host/db)",
    "'http://a:s3cret@h', \"http://b:s3cret@h\"": "'http://***@h', \"http://***@h\"",
    "postgresql://h/db?user=ann&password=s3cret&sslmode=require": "postgresql://h/db?user=ann&password=***&sslmode=require",
    "{'Authorization': 'Bearer s3cret.s3cret'}": "{'Authorization': 'Bearer ***'}",
    "Authorization: Basic YW5uOnMzY3JldA==": "Authorization: Basic ***",
    "authorization: bearer lettersonly": "authorization: bearer ***",
}
HARMLESS = [
    "http://127.0.0.1:5000/api/2.0/mlflow/runs/create?name=a",
    "sqlite:////home/ann/store #1/mlflow.db",
    "write to a@b.example; basic block; bearer of news",
    "Does a basic attention help, or a basic transformer?",
    "training.loss.mask=true · seed 1: 12,345 tokens",
    "see https://example.org/a and ann@host",
]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("text", LEAKS)
def test_secrets_that_can_be_seen_are_masked(text: str) -> None:
    assert masked(text) == LEAKS[text]
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_are_left_as_they_are(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "name", ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN", "PGPASSWORD", "X_API_KEY"]
)
def test_values_of_the_environment_are_masked_wherever_they_stand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "p@ss wörd")
    assert masked("sent 'p@ss wörd' as p%40ss%20w%C3%B6rd") == "sent '***' as ***"


def test_passwords_in_addresses_of_the_environment_are_masked_without_their_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ann:s3%2Fcret@host/db")
    assert (
        masked("password 's3/cret' or s3%2Fcret is wrong for ann@host") == "password '***' or *** is wrong for ann@host"
    )


def test_words_that_are_no_secrets_are_not_hunted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    monkeypatch.setenv("SECRET_FLAG", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "true")
    monkeypatch.setenv("MAX_TOKENS", "4096")
    assert masked("1 of 4096 is true") == "1 of 4096 is true"
