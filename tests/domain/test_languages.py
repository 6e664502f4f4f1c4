import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.languages import LANGUAGES, language_of

SENTENCES = {
    "en": "I cannot log in to my account since yesterday, please help",
    "de": "Seit gestern kann ich mich nicht mehr anmelden",
    "es": "Estimado equipo, no puedo entrar en mi cuenta desde ayer",
    "fr": "Je n'arrive pas à me connecter à mon compte depuis hier",
    "pt": "Não consigo entrar na minha conta desde ontem",
    "it": "Non riesco ad accedere al mio account da ieri",
    "nl": "Ik kan sinds gisteren niet meer bij mijn gegevens komen",
    "sv": "Jag kommer inte åt mina uppgifter sedan i går",
    "fi": "En pääse enää kirjautumaan sisään",
    "pl": "Nie mogę się zalogować od wczoraj",
    "hu": "Tegnap óta nem tudok belépni",
    "ro": "Nu mă pot conecta de ieri",
    "tr": "Dünden beri hesabıma giremiyorum",
    "vi": "Tôi không thể đăng nhập từ hôm qua",
    "ru": "Не могу войти в учётную запись со вчерашнего дня",
    "uk": "Не можу увійти до облікового запису",
    "el": "Δεν μπορώ να συνδεθώ από χθες",
    "ar": "لا أستطيع الدخول إلى حسابي منذ أمس",
    "he": "אני לא מצליח להתחבר מאתמול",
    "hi": "मैं कल से लॉग इन नहीं कर पा रहा हूँ",
    "th": "ฉันเข้าสู่ระบบไม่ได้ตั้งแต่เมื่อวาน",
    "ja": "昨日からログインできません",
    "zh": "从昨天起我无法登录",
    "ko": "어제부터 로그인이 안 됩니다",
}


@pytest.mark.parametrize(("code", "text"), SENTENCES.items(), ids=SENTENCES)
def test_a_sentence_gives_its_language_away(code: str, text: str) -> None:
    guess = language_of(text)
    assert (guess.label, guess.abstained) == (code, False)


@pytest.mark.parametrize("text", ["", "4711", "🚀😡", "\x00\x1b", "Acme Login XR-7"])
def test_what_is_in_no_language_is_left_open(text: str) -> None:
    assert language_of(text).abstained


@given(st.text(max_size=300))
def test_any_text_gets_an_answer(text: str) -> None:
    guess = language_of(text)
    assert guess.label == "und" or guess.label in LANGUAGES
    assert 0 <= guess.probability <= 1


def test_two_megabytes_are_read_at_their_beginning() -> None:
    assert language_of("the house and the garden are mine. " * 60_000).label == "en"
