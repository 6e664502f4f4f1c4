from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters.retrieval import Document, Hit, Retriever

ARTICLES = [
    Document("refund", "How to get a refund: money is returned to your card within five days."),
    Document("delivery", "Track your delivery. Parcels arrive within three working days."),
    Document("password", "Reset your password: follow the link in the mail we send you."),
    Document("passwort", "Passwort zurücksetzen: folgen Sie dem Link in unserer E-Mail."),
    Document("invoice", "Download an invoice as a PDF under billing."),
    Document("empty", ""),
]


@pytest.fixture(scope="module")
def index() -> Retriever:
    return Retriever.build(ARTICLES)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I want a refund", "refund"),
        ("i want a refnud", "refund"),
        ("reset pasword", "password"),
        ("parcell delivry", "delivery"),
        ("Passwortzurücksetzung", "passwort"),
        (
            "Greetings. " + "Lorem ipsum dolor sit amet. " * 40 + "Where is my invoice?",
            "invoice",
        ),
        ("INVOICES", "invoice"),
    ],
)
def test_the_article_that_answers_comes_first(index: Retriever, text: str, found: str) -> None:
    assert index.search(text, 3)[0].id == found


def test_a_hit_says_which_words_it_was_found_by(index: Retriever) -> None:
    [hit, *_] = index.search("where can I download my invoice", 1)
    assert {"download", "invoice"} <= set(hit.why)
    assert 0 < hit.score <= 1


def test_scores_fall_and_a_document_comes_once(index: Retriever) -> None:
    hits = index.search("refund to my card, password link", 10)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert len({hit.id for hit in hits}) == len(hits) <= len(ARTICLES)
    assert "empty" not in {hit.id for hit in hits}


@pytest.mark.parametrize("text", ["", " \n", "🚀", "\x00\x1b", "\ud800", "???"])
def test_a_text_without_words_finds_nothing(index: Retriever, text: str) -> None:
    assert index.search(text, 5) == []


@pytest.mark.parametrize("text", ["word " * 400_000, "x" * 2_000_000, "refund " * 300_000])
def test_two_megabytes_are_asked_like_any_text(index: Retriever, text: str) -> None:
    assert len(index.search(text, 5)) <= 5


@pytest.mark.parametrize("documents", [[], [Document("a", "")], [Document("a", "one word")]])
def test_hardly_any_documents_are_an_index_too(documents: list[Document]) -> None:
    hits = Retriever.build(documents).search("one word", 5)
    assert [hit.id for hit in hits] == [d.id for d in documents if d.text]


def test_none_are_asked_for_none_come(index: Retriever) -> None:
    assert index.search("refund", 0) == []


def test_threads_share_one_index(index: Retriever) -> None:
    texts = [document.text for document in ARTICLES] * 10
    expected: list[list[Hit]] = [index.search(text, 3) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda text: index.search(text, 3), texts)) == expected
