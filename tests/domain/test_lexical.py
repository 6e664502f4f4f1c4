"""Words, the keys they are found by, and how alike texts are."""

import time
from uuid import UUID

import pytest

from domain.lexical import (
    CAP,
    Scorer,
    Spread,
    asked,
    boost,
    forms_of,
    in_language,
    key_of,
    keys_of,
    resemblance,
    snippet,
    words_in,
)

OURS, THEIRS = UUID(int=1), UUID(int=2)

DOCUMENTS = {
    "refund": (
        "How to get a refund for an invoice",
        "You can ask for money back within thirty days. Open billing and choose refund.",
    ),
    "printer": ("Printer does not print", "Restart the printer, check the cable and the toner."),
    "password": ("Reset your password", "Click on forgotten password and follow the mail."),
    "parcel": ("Wo bleibt mein Paket?", "Die Sendung wurde gestern zugestellt."),
    "chinese": ("密码重置", "请点击忘记密码并按照邮件操作。"),
}


def best(query: str) -> list[str]:
    """The documents that the query finds, the best first."""
    kept = {
        name: set(keys_of(OURS, f"{title}\n{text}")) for name, (title, text) in DOCUMENTS.items()
    }
    question = asked(OURS, query)
    found = {key: sum(key in keys for keys in kept.values()) for key in question.keys.values()}
    spread = Spread(question, found, len(DOCUMENTS))
    reached = {
        name
        for probe in spread.probes()
        for name, keys in kept.items()
        if {probe.one, probe.other} - {None} <= keys
    }
    scorer = spread.scorer()
    scores = {name: scorer.score(*DOCUMENTS[name]).value for name in reached}
    return sorted((n for n in scores if scores[n] > 0.1), key=lambda name: -scores[name])


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("The printer is broken", "printer"),
        ("my pritner is broken", "printer"),
        ("prrinter", "printer"),
        ("printes nothing", "printer"),
        ("I want to be refunded", "refund"),
        ("wrong invocie", "refund"),
        ("i forgot my pasword", "password"),
        ("PÄSSWORD", "password"),
        ("wo ist mein packet", "parcel"),
        ("忘记密码了", "chinese"),
    ],
)
def test_a_query_finds_what_it_means_misspelt_inflected_or_not(query: str, wanted: str) -> None:
    assert best(query)[0] == wanted


@pytest.mark.parametrize(
    "query", ["Wo wird unsere Werft im Mai lackiert?", "When will you open with the lamps?"]
)
def test_words_that_only_hold_sentences_together_are_no_reason(query: str) -> None:
    assert "parcel" not in best(query)
    assert "password" not in best(query)


def test_a_query_of_other_words_finds_nothing() -> None:
    assert best("elephants dance slowly") == []
    assert best("") == []
    assert best("?! … 🙂") == []


def test_a_word_that_is_known_is_not_taken_for_one_that_resembles_it() -> None:
    known = Scorer({"pointer": 1.0})
    misspelt = Scorer({"pointer": 1.0}, frozenset({"pointer"}))
    assert known.score("printer", "").value == 0
    assert misspelt.score("printer", "").value > 0


def test_numbers_are_found_whole_or_not_at_all() -> None:
    assert forms_of("inv20417", asked=True).coarse == ()


def test_keys_of_two_tenants_never_meet() -> None:
    text = "The printer is on fire and the invoice is wrong"
    assert not set(keys_of(OURS, text)) & set(keys_of(THEIRS, text))
    assert keys_of(OURS, text) == keys_of(OURS, text)
    assert all(-(2**63) <= key < 2**63 for key in keys_of(OURS, text))


def test_what_a_ticket_is_found_by_is_bounded() -> None:
    endless = " ".join(f"word{n}" for n in range(100_000))
    assert len(keys_of(OURS, endless)) <= 60 * 3
    assert len(asked(OURS, endless).words) == 60


def test_words_that_everybody_uses_are_followed_in_pairs_only() -> None:
    question = asked(OURS, "cannot login today zebra")
    keys = question.keys
    common = {keys["=cannot"]: CAP, keys["=login"]: CAP, keys["=today"]: CAP, keys["=zebra"]: 1}
    probes = Spread(question, common, 100_000).probes()
    assert probes[0].one == keys["=zebra"]
    assert {probe.one for probe in probes if probe.other is None} == {keys["=zebra"]}
    paired = {frozenset((p.one, p.other)) for p in probes if p.other is not None}
    assert frozenset((keys["=cannot"], keys["=login"])) in paired


def test_only_rare_words_are_looked_for_in_other_forms() -> None:
    question = asked(OURS, "printer firmware zebra")
    keys = question.keys
    wanted = question.coarse_keys({keys["=printer"]: 900, keys["=firmware"]: 3})
    assert keys["^prin"] not in wanted
    assert keys["^firm"] in wanted
    assert keys["$ware"] not in wanted
    assert {keys["^zebr"], keys["$ebra"], keys["~zbr"]} <= set(wanted)


def test_a_search_looks_at_a_bounded_number_of_documents() -> None:
    question = asked(OURS, " ".join(f"{n}word{n}" for n in range(60)))
    found = dict.fromkeys(question.keys.values(), CAP - 1)
    probes = Spread(question, found, 100_000).probes()
    assert len(probes) * (CAP - 1) <= 10_000


def test_a_rare_word_says_more_than_a_common_one() -> None:
    question = asked(OURS, "firmware hello")
    keys = question.keys
    spread = Spread(question, {keys["=firmware"]: 2, keys["=hello"]: 900}, 1000)
    scorer = spread.scorer()
    rare, common = scorer.score("firmware", ""), scorer.score("hello", "")
    assert rare.value > 0.9 > 0.1 > common.value
    assert rare.why == ("firmware",)


def test_the_title_says_more_than_the_text_and_a_long_text_less_than_a_short_one() -> None:
    scorer = Scorer({"router": 1.0, "restart": 1.0})
    in_title = scorer.score("restart router", "").value
    in_text = scorer.score("", "restart router").value
    in_long = scorer.score("", "restart router " + "and so on " * 2000).value
    assert in_title > in_text > in_long > 0


def test_scoring_a_long_text_is_quick() -> None:
    scorer = Scorer({f"word{n}": 1.0 for n in range(60)}, frozenset({"word1"}))
    began = time.perf_counter()
    for _ in range(20):
        scorer.score("title", "some ordinary words about nothing much " * 150)
    assert time.perf_counter() - began < 2


def test_copies_are_told_from_texts_that_share_some_words() -> None:
    text = "The router restarts every night at three and the line is dead until noon."
    assert resemblance(text, text.upper()) == 1
    assert resemblance(text, text + " Please help.") > 0.8
    assert resemblance(text, "The router is fine but the bill is wrong and I want money.") < 0.2
    assert resemblance("", "") == 0


def test_verdicts_move_a_score_by_a_quarter_at_most_and_few_of_them_by_little() -> None:
    assert boost({}) == 1
    assert 1 < boost({"accepted": 1}) < boost({"accepted": 5}) < boost({"accepted": 500}) <= 1.25
    assert 0.75 <= boost({"rejected": 500}) < boost({"rejected": 1}) < 1
    assert boost({"accepted": 4}) > boost({"edited": 4}) > 1 > boost({"rejected": 4})


def test_a_snippet_is_the_part_that_says_it_on_one_line() -> None:
    text = "Thank you for writing.\n\nUnplug the router.\nWait ten seconds. " + "More. " * 100
    shown = snippet(text, ("router",))
    assert shown.startswith("Unplug the router. Wait ten seconds.")
    assert len(shown) <= 240
    assert "\n" not in shown
    assert snippet("", ("router",)) == ""


def test_words_of_scripts_without_spaces_are_pairs() -> None:
    assert words_in("忘记密码 VPN") == ["忘记", "记密", "密码", "vpn"]
    assert words_in("รหัสผ่าน")
    assert key_of(OURS, "=忘记") != key_of(OURS, "=记密")


def test_languages_are_compared_without_their_regions() -> None:
    assert in_language("de-AT", "de")
    assert not in_language("de", "en")
    assert in_language(None, "en")


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("Hello, please help me. Thank you!", "Hello team, could you please help? Many thanks."),
        (
            "Sehr geehrte Damen und Herren, bitte helfen Sie mir. Vielen Dank im Voraus.",
            "Guten Tag, ich bitte um Hilfe. Vielen Dank und freundliche Grüße",
        ),
        ("I have a question about this, please", "Question: could you please write about this?"),
    ],
)
def test_greetings_and_small_words_alone_match_nothing(query: str, document: str) -> None:
    wanted = asked(OURS, query)
    spread = Spread(wanted, dict.fromkeys(wanted.keys.values(), 1), 50)
    assert spread.scorer().score(document, document).value == 0
    # Nor where the query says more, and the document has nothing of that.
    more = asked(OURS, f"{query} The toner is empty.")
    spread = Spread(more, dict.fromkeys(more.keys.values(), 1), 50)
    assert spread.scorer().score(document, document) == (0.0, ())


def test_no_reason_is_a_greeting_or_a_small_word() -> None:
    wanted = asked(OURS, "Hello dear team, please help: the printer does not print. Thanks!")
    spread = Spread(wanted, dict.fromkeys(wanted.keys.values(), 1), 50)
    found = spread.scorer().score("Hello, please help with the printer", "Thanks dear team.")
    assert set(found.why) == {"printer", "print"}
