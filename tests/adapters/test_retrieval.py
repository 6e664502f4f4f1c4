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


@pytest.mark.parametrize(
    ("texts", "asked", "found"),
    [
        # Numbers tell more than anything else.
        (["Order 20417 is late", "Order 20418 is late", "Order 20419 is late"], "20418", 1),
        (["Fehler 0x80070005", "Fehler 0x80070057"], "fehler 0x80070057", 1),
        # The same words, put another way.
        (
            ["Move money from savings to checking", "Move money from checking to savings"],
            "from checking to savings",
            1,
        ),
        # Line ends written out, as exports have them.
        (["Hello,\\n\\nprinter\\nbroken", "Hello,\\n\\nrouter\\nbroken"], "router broken", 1),
        (["Facturation", "Créer un compte"], "creer un compte", 1),
        (["Die Rechnung", "Der Schlüssel"], "schluessel", 1),
        (["<p>Reset&nbsp;password</p>", "<p>Close&nbsp;account</p>"], "close account", 1),
    ],
)
def test_what_tells_documents_apart_counts(texts: list[str], asked: str, found: int) -> None:
    documents = [Document(str(place), text) for place, text in enumerate(texts)]
    assert Retriever.build(documents).search(asked, 1)[0].id == str(found)


@pytest.mark.slow
def test_ten_thousand_documents_are_an_index_within_bounds() -> None:
    words = [f"word{n}" for n in range(3_000)]
    texts = [
        " ".join(words[(n * 7 + k * k * (1 + n // 3_000)) % 3_000] for k in range(60))
        for n in range(10_000)
    ]
    built = Retriever.build([Document(str(n), text) for n, text in enumerate(texts)])
    assert [built.search(texts[n], 1)[0].id for n in (0, 4_321, 9_999)] == ["0", "4321", "9999"]


def test_threads_share_one_index(index: Retriever) -> None:
    texts = [document.text for document in ARTICLES] * 10
    expected: list[list[Hit]] = [index.search(text, 3) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda text: index.search(text, 3), texts)) == expected
