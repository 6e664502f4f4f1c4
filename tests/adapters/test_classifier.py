"""The classifier as it is trained from its own phrases: a real training, once for the run."""

import hashlib
import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import skops.io

from adapters.classifier import (
    Classifier,
    ModelDamaged,
    files,
    junk,
    moods,
    phrases,
    read,
    training,
)
from domain.states import Priority
from domain.triage import WANTED_PRECISION, Guess, Prediction, Sentiment, Spam, Topic, Verdict

# Training takes the better part of ten seconds.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trained model lies. Parallel test processes share it: one trains, others wait."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "classifier"


@pytest.fixture(scope="session")
def classifier(folder: Path) -> Classifier:
    return Classifier.load(folder)


@pytest.fixture
def path(classifier: Classifier, folder: Path, tmp_path: Path) -> Path:
    """A copy of the model file, with its sum, to be damaged."""
    original = folder / f"model-{classifier.version}.skops"
    copy = tmp_path / original.name
    copy.write_bytes(original.read_bytes())
    files.sum_path(copy).write_bytes(files.sum_path(original).read_bytes())
    return copy


def guesses(verdict: Verdict) -> tuple[Guess, Guess, Guess, Guess]:
    assert verdict.spam is not None
    return verdict.topic, verdict.priority, verdict.sentiment, verdict.spam


@pytest.mark.parametrize(
    ("subject", "body", "topic"),
    [
        ("Cannot log in", "Hi, I forgot my password and the link is dead.", "account_access"),
        ("Passwort vergessen", "Hallo, ich komme nicht mehr in mein Konto.", "account_access"),
        ("", "Where is my parcel? It should have been here last week.", "orders"),
        ("Lieferung", "Mein Paket ist seit Tagen nicht da.", "orders"),
        ("Invoice", "You charged my credit card twice this month.", "billing"),
        ("Rechnung falsch", "Sie haben mir zweimal 30 Euro abgebucht.", "billing"),
        ("", "I want to cancel my subscription and get a refund", "cancellation_refund"),
        ("Kündigung", "hiermit kündige ich mein Abo zum Monatsende", "cancellation_refund"),
        ("Idea", "It would be nice if you could add a dark theme.", "feature_request"),
        ("Vorschlag", "Ein Dunkelmodus wäre schön.", "feature_request"),
        ("", "How do I export my contacts to a spreadsheet?", "how_to"),
        ("", "Wie kann ich meine Kontakte exportieren?", "how_to"),
        ("Help", "All servers are down and nobody can work", "outage"),
        ("Störung", "Alles ist ausgefallen, keiner erreicht das System.", "outage"),
        ("", "Please send us a quote for 50 licences", "sales"),
        ("", "Was kosten 50 Lizenzen? Bitte um ein Angebot.", "sales"),
        ("Phishing", "I got a suspicious email asking for my password", "security"),
        ("", "unser Konto wurde gehackt", "security"),
        ("", "The app crashes with an error when I upload a file", "technical_issue"),
        ("", "Die App stürzt beim Hochladen mit einer Fehlermeldung ab", "technical_issue"),
    ],
)
def test_a_plain_request_gets_its_topic(
    classifier: Classifier, subject: str, body: str, topic: str
) -> None:
    guess = classifier.classify(subject, body).topic
    assert (guess.label, guess.abstained) == (topic, False)


@pytest.mark.parametrize(
    ("subject", "body", "priority"),
    [
        ("URGENT", "Our production is down, nobody can work, please call now!", Priority.URGENT),
        ("", "Alles ist ausgefallen, das ist ein Notfall, bitte sofort helfen!", Priority.URGENT),
        ("Idea", "No rush, but it would be nice to have a dark theme.", Priority.LOW),
        ("", "Es eilt nicht, aber ein Dunkelmodus wäre schön.", Priority.LOW),
        ("Cannot log in", "Hi, I forgot my password and the link is dead.", Priority.NORMAL),
    ],
)
def test_a_plain_request_gets_its_priority(
    classifier: Classifier, subject: str, body: str, priority: Priority
) -> None:
    guess = classifier.classify(subject, body).priority
    assert (guess.label, guess.abstained) == (priority, False)


@pytest.mark.parametrize(
    ("body", "sentiment"),
    [
        ("This is ridiculous, I am so disappointed. Terrible service!", Sentiment.NEGATIVE),
        ("Ich bin maßlos enttäuscht, das ist eine Frechheit!", Sentiment.NEGATIVE),
        ("Your team is awesome, I am very happy, excellent service!", Sentiment.POSITIVE),
        ("Vielen Dank, super Service, ich bin begeistert!", Sentiment.POSITIVE),
        ("How do I export my contacts to a spreadsheet?", Sentiment.NEUTRAL),
        ("Wie kann ich meine Kontakte exportieren?", Sentiment.NEUTRAL),
    ],
)
def test_a_mood_is_heard(classifier: Classifier, body: str, sentiment: Sentiment) -> None:
    guess = classifier.classify("", body).sentiment
    assert (guess.label, guess.abstained) == (sentiment, False)


STRANGE = {
    "empty": "",
    "spaces": " \n\t ",
    "nonsense": "asdf qwer zxcv lkjh fdsa",
    "emoji": "🚀🚀 😡 👩‍👩‍👧",
    "control characters": "\x00\x01\x1b[31m\x7f\ufeff\u202e",
    "lone surrogates": "\ud800 \udfff",
    "digits": "0049 170 1234567 0000",
    "combining marks": "Z" + "\u0335" * 5_000,
    "zip bomb of a word": "\ufdfa" * 30_000,
    "latin filler": "lorem ipsum dolor sit amet consectetur",
}
LANGUAGES = """
Estimado equipo, no puedo entrar en mi cuenta desde ayer
Je n'arrive pas à me connecter à mon compte depuis hier
Não consigo entrar na minha conta desde ontem
Non riesco ad accedere al mio account da ieri
Ik kan sinds gisteren niet meer bij mijn gegevens komen
Jag kommer inte åt mina uppgifter sedan i går
Jeg har ikke kunnet komme ind siden i går
En pääse enää kirjautumaan sisään
Ég kemst ekki lengur inn á reikninginn minn
Nie mogę się zalogować od wczoraj
Od včerejška se nemohu přihlásit
Od včera sa neviem prihlásiť
Tegnap óta nem tudok belépni
Nu mă pot conecta de ieri
Не могу войти в учётную запись со вчерашнего дня
Не можу увійти до облікового запису
Не мога да вляза в профила си
Не могу да се пријавим од јуче
Od jučer se ne mogu prijaviti
Od včeraj se ne morem prijaviti
Nuo vakar negaliu prisijungti
Kopš vakardienas nevaru pieslēgties
Ma ei saa eilsest sisse logida
Δεν μπορώ να συνδεθώ από χθες
Dünden beri hesabıma giremiyorum
لا أستطيع الدخول إلى حسابي منذ أمس
אני לא מצליח להתחבר מאתמול
از دیروز نمی‌توانم وارد شوم
میں کل سے لاگ ان نہیں کر سکتا
मैं कल से लॉग इन नहीं कर पा रहा हूँ
আমি গতকাল থেকে লগইন করতে পারছি না
நேற்று முதல் உள்நுழைய முடியவில்லை
నిన్నటి నుండి లాగిన్ కాలేకపోతున్నాను
ฉันเข้าสู่ระบบไม่ได้ตั้งแต่เมื่อวาน
Tôi không thể đăng nhập từ hôm qua
Saya tidak bisa masuk sejak kemarin
Siwezi kuingia tangu jana
昨日からログインできません
从昨天起我无法登录
어제부터 로그인이 안 됩니다
""".strip().splitlines()


@pytest.mark.parametrize("text", [*STRANGE.values(), *LANGUAGES], ids=[*STRANGE, *LANGUAGES])
def test_what_the_model_was_never_taught_is_left_to_people(
    classifier: Classifier, text: str
) -> None:
    for verdict in (classifier.classify("", text), classifier.classify(text, text)):
        assert [guess.abstained for guess in guesses(verdict)] == [True] * 4


@pytest.mark.parametrize(
    ("subject", "body", "spam"),
    [
        ("", "Cannot log in, the password reset mail never arrives.", Spam.NOT_SPAM),
        ("Rechnung 4711", "Die Rechnung ist doppelt, bitte stornieren Sie eine.", Spam.NOT_SPAM),
        ("Angebot", "Bitte schicken Sie uns ein Angebot über 20 Lizenzen.", Spam.NOT_SPAM),
        ("", "I received a phishing mail in your name, is it real?", Spam.NOT_SPAM),
        ("", "My parcel has not come yet, it was promised for Monday.", Spam.NOT_SPAM),
        ("Rank on Google", "Our SEO agency brings your website to page one of Google with"
         " backlinks. Reply for a free audit report.", Spam.SPAM),
        ("", "You have won 900,000 USD in the lottery! Send your full name, address and a copy of"
         " your passport to claim the prize.", Spam.SPAM),
        ("Kredit", "Wir vergeben Kredite ohne Schufa zu 2 % Zinsen, antworten Sie noch heute und"
         " sichern Sie sich das Angebot.", Spam.SPAM),
        ("", "Verdienen Sie 900 Euro am Tag mit Bitcoin von zu Hause, jetzt anmelden!", Spam.SPAM),
    ],
)  # fmt: skip
def test_what_nobody_asked_for_is_told_from_what_customers_ask(
    classifier: Classifier, subject: str, body: str, spam: Spam
) -> None:
    found = classifier.classify(subject, body).spam
    assert found is not None
    assert found.label == spam
    assert not (found.abstained and spam is Spam.NOT_SPAM)


@pytest.mark.parametrize(
    ("body", "mood"),
    [
        ("still waiting for my parcel after three weeks and nobody picks up the phone", "negative"),
        ("thanks for getting back to me so quickly, it works now", "positive"),
        ("what time do you open on Saturday", "neutral"),
        ("niemand geht ans Telefon und das Paket ist immer noch nicht da", "negative"),
        ("vielen Dank, das ging ja schnell", "positive"),
        ("wann öffnen Sie am Samstag", "neutral"),
    ],
)
def test_a_mood_is_heard_that_nobody_names(classifier: Classifier, body: str, mood: str) -> None:
    assert classifier.classify("", body).sentiment.label == mood


def test_every_phrase_file_is_read_and_shares_no_line_between_folds() -> None:
    assert [path.stem for path in (*junk.files(), *moods.files())] == ["de", "en"] * 2
    unwanted = list(junk.messages(phrases.FOLDS))
    assert unwanted == list(junk.messages(phrases.FOLDS))
    assert {fold for _, _, fold in unwanted} == set(range(phrases.FOLDS))
    assert not any("{" in subject + body for subject, body, _ in unwanted)
    heard = list(moods.messages(phrases.FOLDS))
    assert {mood for _, mood, _ in heard} == set(Sentiment)
    told = [fold for text, _, fold in heard if "stop sending me the same copied" in text.lower()]
    assert told
    assert len(set(told)) == 1


def test_the_languages_are_forty() -> None:
    assert len(LANGUAGES) == 40


@pytest.mark.parametrize(
    "text", ["word " * 400_000, "\n" * 2_000_000, "> " * 1_000_000, "x" * 2_000_000, "<a" * 10**6]
)
def test_two_megabytes_are_read_like_any_text(classifier: Classifier, text: str) -> None:
    assert classifier.classify(text, text).model_version == classifier.version


def test_probabilities_are_probabilities(classifier: Classifier) -> None:
    verdicts = classifier.classify_many(
        [("", text) for text in (*STRANGE.values(), *LANGUAGES, "My invoice is wrong!")]
    )
    for verdict in verdicts:
        asked = zip(guesses(verdict), (Topic, Priority, Sentiment, Spam), strict=True)
        for guess, labels in asked:
            shares = [share for _, share in guess.top]
            assert len(shares) == min(3, len(labels))
            assert shares == sorted(shares, reverse=True)
            assert guess.top[0] == (guess.label, guess.probability)
            assert {label for label, _ in guess.top} <= set(labels)
            assert all(0 <= share <= 1 for share in shares)
            assert sum(shares) <= 1 + 1e-6
            if labels is Sentiment:
                assert sum(shares) == pytest.approx(1)


def test_many_are_classified_like_each_alone(classifier: Classifier) -> None:
    messages = [(example.subject, example.body) for example in phrases.examples()[::16]]
    together = classifier.classify_many(messages)

    assert len(together) == len(messages) > 256
    for message, verdict in zip(messages[::5], together[::5], strict=True):
        alone = classifier.classify(*message)
        for one, other in zip(guesses(alone), guesses(verdict), strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)
    assert classifier.classify_many([]) == []


def test_threads_share_one_classifier(classifier: Classifier) -> None:
    messages = [(example.subject, example.body) for example in phrases.examples()[::40]]
    expected = [classifier.classify(*message) for message in messages]

    with ThreadPoolExecutor(4) as threads:
        assert (
            list(threads.map(lambda message: classifier.classify(*message), messages)) == expected
        )


def test_a_quoted_thread_does_not_decide_the_topic(classifier: Classifier) -> None:
    thread = "\n\nOn 3 May 2026 Ann wrote:\n" + "> The app crashes with an error message.\n" * 20
    verdict = classifier.classify("Re: crash", "Please send me a copy of the invoice." + thread)
    assert verdict.topic.label == Topic.BILLING


def test_every_head_keeps_the_precision_it_was_asked_for(classifier: Classifier) -> None:
    measured = {head.name: head.measures for head in classifier.heads}

    assert set(measured) == {"topic", "priority", "sentiment", "spam"}
    for name, measures in measured.items():
        assert measures.precision >= WANTED_PRECISION[name]
    assert measured["topic"].accuracy > 0.75  # 0.80 when this was written; chance is 0.09
    assert measured["topic"].coverage > 0.65
    assert measured["priority"].coverage > 0.2
    assert measured["sentiment"].coverage > 0.35
    assert measured["spam"].coverage > 0.75


def test_no_request_is_in_two_folds() -> None:
    for language in phrases.files():
        assert language.stem in ("de", "en")
    examples = phrases.examples()
    assert {example.topic for example in examples} == set(Topic)
    assert {example.priority for example in examples} == set(Priority)
    assert {example.sentiment for example in examples} == set(Sentiment)
    folds_of: dict[str, set[int]] = {}
    for example in examples:
        if "forgot my password and the reset email" in example.body:
            folds_of.setdefault("reset email", set()).add(example.fold)
    assert [len(folds) for folds in folds_of.values()] == [1]


def test_the_examples_are_the_same_every_time() -> None:
    assert phrases.examples() == phrases.examples()


def test_a_second_load_reads_the_file(
    classifier: Classifier, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = {path.name: path.stat().st_mtime_ns for path in folder.glob("model-*")}
    with caplog.at_level(logging.INFO):
        again = Classifier.load(folder)

    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("model-*")} == written
    assert len(written) == 2
    assert caplog.messages == []
    assert again.classify("Invoice", "wrong amount") == classifier.classify(
        "Invoice", "wrong amount"
    )


def test_an_intact_file_is_read(path: Path) -> None:
    assert [len(head.labels) for head in read(path).heads] == [
        len(Topic),
        len(Priority),
        len(Sentiment),
        len(Spam),
    ]


def test_another_file_under_the_name_is_refused_though_its_own_sum_is_right(path: Path) -> None:
    expected = files.sum_path(path).read_text().strip()
    files._replace(path, b"swapped")
    files._replace(files.sum_path(path), hashlib.sha256(b"swapped").hexdigest().encode())
    with pytest.raises(ModelDamaged, match="does not match its sum"):
        read(path, sha256=expected)


def test_a_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelDamaged, match="does not match its sum"):
        read(path)


def test_an_altered_file_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match="does not match its sum"):
        read(path)


def test_a_file_without_its_sum_is_refused(path: Path) -> None:
    files.sum_path(path).unlink()
    with pytest.raises(ModelDamaged, match="sum is missing"):
        read(path)


class Foreign:
    """A type no model file has any business with."""


@pytest.mark.parametrize(
    "content",
    [b"", b"not a zip", skops.io.dumps({"weights": 1}), skops.io.dumps({"weights": Foreign()})],
    ids=["empty", "text", "other content", "untrusted type"],
)
def test_a_file_that_holds_no_model_is_refused_though_its_sum_is_right(
    path: Path, content: bytes
) -> None:
    files._replace(path, content)
    files._replace(files.sum_path(path), hashlib.sha256(content).hexdigest().encode())
    with pytest.raises(ModelDamaged, match="does not hold a model"):
        read(path)


def test_a_missing_file_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "model-none.skops")


@pytest.mark.slow
def test_a_damaged_file_is_replaced_by_training_again(
    classifier: Classifier, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(path.read_bytes()[:1000])
    again = Classifier.load(path.parent)

    assert any("does not match its sum" in message for message in caplog.messages)
    kept = [head.measures for head in read(path).heads]
    assert kept == [head.measures for head in again.heads]
    assert kept == [head.measures for head in classifier.heads]
    assert list(path.parent.glob(".model-*")) == []


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_only_the_training(
    classifier: Classifier, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "models"
    in_the_way.write_text("a file where the folder should be")

    assert Classifier.load(in_the_way).version == classifier.version
    assert any("cannot be kept" in message for message in caplog.messages)


LOADS = """
import json, logging, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO, format="%(message)s")
from adapters.classifier import Classifier
verdict = Classifier.load(Path(sys.argv[1])).classify("Invoice", "You charged me twice, refund me!")
print(verdict.model_dump_json())
"""


@pytest.mark.slow
def test_two_processes_at_once_train_one_model_and_agree_with_a_third(
    classifier: Classifier, tmp_path: Path
) -> None:
    loading = [
        subprocess.Popen(
            [sys.executable, "-c", LOADS, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(training.__file__).parents[2],
        )
        for _ in range(2)
    ]
    outcomes = [process.communicate(timeout=120) for process in loading]

    assert [process.returncode for process in loading] == [0, 0], outcomes
    assert sum(errors.count("Trained the classifier") for _, errors in outcomes) == 1
    expected = classifier.classify("Invoice", "You charged me twice, refund me!")
    for output, _ in outcomes:
        verdict = Verdict.model_validate(json.loads(output))
        assert verdict.model_version == expected.model_version
        for one, other in zip(guesses(verdict), guesses(expected), strict=True):
            assert one.label == other.label
            assert one.probability == pytest.approx(other.probability, abs=1e-4)


def test_one_message_is_told_with_the_words_that_decided_and_what_is_strange_to_it(
    classifier: Classifier,
) -> None:
    verdict = classifier.classify("Invoice", "You charged me twice, I want my money back")
    assert isinstance(verdict.topic, Prediction)
    assert {"charged", "invoice", "twice", "money"} & {word for word, _ in verdict.topic.words}
    assert not verdict.topic.out_of_scope
    said = classifier.classify(
        "", "The printer, that is in our office, is not working, again!"
    ).topic
    assert isinstance(said, Prediction)
    told = {word for word, _ in said.words}
    assert "printer" in told
    assert not told & {"the", "is", "in", "our", "working,", "again!"}
    foreign = classifier.classify("", "昨日からログインできません").topic
    assert isinstance(foreign, Prediction)
    assert (foreign.out_of_scope, foreign.abstained) == (True, True)
    # As it is kept beside the ticket, and read again.
    again = Verdict.model_validate(verdict.model_dump(mode="json"))
    assert again == verdict
