"""The language a text is written in: by its script, else by the small words nobody can avoid.

No model: the commonest words of a language make up a third of any sentence in it, so counting them
is right for all but the shortest texts, costs microseconds, and is explained by pointing.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Final

from domain.triage import Guess

_LOOKED_AT: Final = 4_000  # characters: a language shows early
_LEAST_PROBABILITY: Final = 0.6
_SHARPNESS: Final = 1.5
_ENOUGH: Final = 60  # small words of a language
_DOUBT: Final = 0.8  # as many small words speak for a language that is not known here
_UNKNOWN: Final = "und"  # the code for "undetermined" in ISO 639-2
_WORD: Final = re.compile(r"[^\W\d_]+")

# Letters that only one of the languages we know is written with.
_SCRIPTS: Final[Mapping[str, str]] = {
    "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "GREEK": "el", "HEBREW": "he",
    "THAI": "th", "TAMIL": "ta", "TELUGU": "te", "BENGALI": "bn", "GUJARATI": "gu",
    "GEORGIAN": "ka", "ARMENIAN": "hy", "KHMER": "km", "MYANMAR": "my", "LAO": "lo",
    "KANNADA": "kn", "MALAYALAM": "ml", "GURMUKHI": "pa", "SINHALA": "si", "ETHIOPIC": "am",
}  # fmt: skip

# Scripts of several languages, which words then tell apart; the first is meant without any.
_SHARED: Final[Mapping[str, tuple[str, ...]]] = {
    "CJK": ("zh",),
    "ARABIC": ("ar", "fa", "ur"),
    "DEVANAGARI": ("hi", "mr", "ne"),
    "CYRILLIC": ("ru", "uk", "bg", "sr"),
}

_SMALL_WORDS: Final[Mapping[str, frozenset[str]]] = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the and to of a in is it you that i for on with this have my not are be we can do"
        " was but at your from or when how what please will has an as if our me would there they"
        " am been don't i'm it's could hi hello thanks why where who does did no need want get",
        "de": "der die das und ist nicht ich sie wir ein eine einen zu mit auf für von den dem es"
        " im haben hat bei wie was kann bitte aber noch mein meine auch wird oder wenn nach seit"
        " mir uns um aus am an kein keine sind war werden habe ihr ihre hallo danke warum wo zum"
        " zur doch schon nur mehr können dass funktioniert unser unsere",
        "fr": "le la les de des et est un une je vous nous pour dans que qui ne pas sur avec mon ma"
        " mes votre ce cette il elle en au aux du par plus mais ou si ai suis n'arrive depuis"
        " bonjour merci être avoir sont notre comment mes se à j'ai d'un c'est très fait",
        "es": "el la los las de y que en un una es no se por con para mi me su lo al del como más"
        " pero le ya está he tengo puedo desde hola gracias quiero cuando muy sin sobre este esta"
        " nos usted son hay yo ha qué necesito cuenta estimado favor equipo",
        "pt": "o a os as de e que em um uma é não se por com para meu minha me seu do da no na dos"
        " mais mas como já está eu tenho posso desde olá obrigado quero quando muito sem sobre este"
        " esta nos são há você foi ao pelo pela ou consigo preciso conta também",
        "it": "il lo la i gli le di e che in un una è non si per con mio mia mi del della al alla"
        " dei più ma come ho sono da ciao grazie quando molto senza questo questa nel nella ci ha"
        " posso riesco vorrei perché anche sul dal vostro buongiorno",
        "nl": "de het een en is niet ik je u we van in op te dat die voor met mijn zijn er aan om"
        " maar ook hebben heb kan wel naar als bij nog dit deze was wat hoe graag bedankt waarom"
        " wij mij meer kunnen geen sinds uw wordt krijg",
        "sv": "och att det är jag inte en ett på med för som av har den till min mitt mina vi"
        " kan om"
        " men så från när hur hej tack jag kommer åt sedan ni er måste vill detta eller vad",
        "da": "og at det er jeg ikke en et på med for som af har den til min mit mine vi kan om men"
        " så fra når hvordan hej tak ind siden jer skal vil dette eller hvad også kunne blevet",
        "nb": "og at det er jeg ikke en et på med for som av har den til min mitt mine vi kan"
        " om men"
        " så fra når hvordan hei takk inn siden dere må vil dette eller hva også kunnet ble",
        "fi": "ja on ei se että en minun olen mutta kun tai jos niin myös voi miten hei kiitos mitä"
        " ole ovat oli tämä sen eilen vielä enää pääse saa voinko meidän teidän",
        "is": "og að er ekki ég það í á til með sem við um en hann af því var fyrir minn mína"
        " lengur"
        " kemst inn þetta hvernig takk hæ get",
        "pl": "i w nie na się z do to że jest jak mam mogę po co za od ale już czy moje mój dla"
        " przez tak jestem proszę dziękuję witam dzień dobry moja być przy oraz wczoraj nadal",
        "cs": "a v se na je že s z do to jak ale mi nemohu jsem po pro od když už nebo si být moje"
        " můj prosím děkuji dobrý den co tak jsme při však které přihlásit",
        "sk": "a v sa na je že s z do to ako ale mi nemôžem som po pre od keď už alebo si byť moje"
        " môj prosím ďakujem dobrý deň čo tak sme pri ktoré prihlásiť včera neviem",
        "hu": "a az és nem hogy van egy is de ha meg mi vagy már csak kell nekem be tudok köszönöm"
        " tegnap óta én lehet mert kérem szeretném fiók ezt minden volt mint",
        "ro": "și nu de la în un o pe cu să este că pentru din mai am mă pot ce sunt dar contul meu"
        " mea ieri bună mulțumesc vă cum când nici fost prin au si sa",
        "hr": "i u se na je da ne za su od s to mogu ali kao sam moj moja ili kako više jučer hvala"
        " molim već što nije bi će iz prijaviti me mi kad",
        "sl": "in v se na je da ne za so od s z to morem ali kot sem moj moja kako več včeraj hvala"
        " prosim že kaj ni bi bo iz prijaviti me mi ko od",
        "lt": "ir į iš kad ne su yra tai aš negaliu mano bet kaip nuo ar dėl apie labas ačiū prašau"
        " prisijungti buvo jau po už vakar dar kas jei",
        "lv": "un ir ka ar es nevaru mans bet kā no vai par uz lai kopš sveiki paldies lūdzu tas"
        " pieslēgties nav jau pie pēc man vakardienas kas",
        "et": "ja on ei ma see et mu minu aga kui ka ning oli mis kas siis tere aitäh palun sisse"
        " saa eilsest enam oma olen või kuidas logida seda",
        "tr": "ve bir bu için de da ile ne var yok ben değil çok ama gibi daha mi mı nasıl merhaba"
        " teşekkürler lütfen beri dünden hesabıma giremiyorum olarak kadar sonra ki olan",
        "vi": "và là của không tôi có được cho các một này với để trong khi từ đã những bạn thể hôm"
        " qua nhập đăng xin cảm ơn vào nhưng ở người",
        "id": "dan yang di saya tidak ini untuk dengan dari bisa itu ke akan ada pada masuk sejak"
        " kemarin anda kami terima kasih sudah atau apa bagaimana belum juga akun mohon",
        "sw": "na ya wa ni kwa siwezi kuingia tangu jana katika la hii za yangu hapana asante"
        " tafadhali"
        " habari lakini kama sana mimi wangu nini",
        "ru": "и в не на я что с у по к как за это мне для мой от но со вы из все же так бы когда"
        " нет есть здравствуйте спасибо могу войти пожалуйста уже вчерашнего",
        "uk": "і в не на я що з у по до як за це мені для мій від але та ви із всі ж так коли немає"
        " є дякую можу увійти будь ласка вже вчора й облікового",
        "bg": "и в не на аз че с у по до как за това ми да мога се от но сте вие съм е си моя моят"
        " вляза вчера благодаря здравейте моля вече няма профила",
        "sr": "и у не на ја да се са по до како за то ми мој могу од али сте је сам моја пријавим"
        " јуче хвала молим већ нема што због",
        "ar": "في من على لا إلى أن هذا ما مع منذ لم هل كيف حسابي الدخول أستطيع شكرا مرحبا عن التي",
        "fa": "از به در را که این با است نمی توانم نمی‌توانم برای من وارد شوم دیروز آن هم"
        " چگونه سلام",
        "ur": "میں سے نہیں کر کا کی کے ہے ہوں پا رہا سکتا کل اور کو یہ ہیں پر نے لاگ",
        "hi": "में है के की से का मैं नहीं हूँ कर पा रहा को और यह हैं पर कल मेरा क्या लेकिन",
        "mr": "आहे मी नाही आणि माझे ते या हे मला होते काय करू शकत पण",
        "ne": "छ म मेरो हो र छैन गर्न यो मलाई भएको सक्दिन तर लाई",
        "zh": "",
    }.items()
}  # fmt: skip
_LATIN: Final = tuple(
    code for code in _SMALL_WORDS if not any(code in codes for codes in _SHARED.values())
)

SMALL_WORDS: Final[frozenset[str]] = frozenset().union(*_SMALL_WORDS.values())
"""Words that hold sentences together, of every language known by them: they say little else."""

LANGUAGES: Final = tuple(sorted({*_SMALL_WORDS, *_SCRIPTS.values()}))
"""ISO 639-1 codes of what is told apart."""


def language_of(text: str) -> Guess:
    """The language of `text`, as an ISO 639-1 code; abstained where too little speaks for it."""
    words = _WORD.findall(unicodedata.normalize("NFC", text[:_LOOKED_AT]).casefold())
    script = _script(words)
    if script in _SCRIPTS:
        return _guess({_SCRIPTS[script]: 1.0})
    # Japanese is written with Chinese characters too; kana between them gives it away.
    if script == "CJK" and any(_script_of(c) in ("HIRAGANA", "KATAKANA") for w in words for c in w):
        return _guess({"ja": 1.0})
    candidates = _SHARED.get(script, _LATIN if script == "LATIN" else ())
    if len(candidates) == 1:
        return _guess({candidates[0]: 1.0})
    return _by_small_words(text, words, candidates)


def _by_small_words(text: str, words: list[str], candidates: tuple[str, ...]) -> Guess:
    # With their apostrophes, as English and French contract; each only once.
    lowered = text[:_LOOKED_AT].casefold().replace("\u2019", "'")
    distinct = {*words, *re.findall(r"[^\W\d_]+'[^\W\d_]+", lowered)}
    met = {code: sorted(distinct & _SMALL_WORDS[code])[:_ENOUGH] for code in candidates}
    shared = Counter(word for found in met.values() for word in found)
    # A word of four languages says half of what a word of one does.
    weight = {code: sum(shared[word] ** -0.5 for word in found) for code, found in met.items()}
    # One small word could be a name or borrowed; each further one makes the doubt much smaller.
    likely = {code: math.exp(_SHARPNESS * value) for code, value in weight.items() if value}
    total = sum(likely.values()) + math.exp(_SHARPNESS * _DOUBT)
    return _guess({code: value / total for code, value in likely.items()})


def _guess(shares: Mapping[str, float]) -> Guess:
    ranked = sorted(shares.items(), key=lambda entry: (-entry[1], entry[0]))[:3]
    label, probability = ranked[0] if ranked else (_UNKNOWN, 0.0)
    return Guess(
        label=label,
        probability=probability,
        abstained=probability < _LEAST_PROBABILITY,
        top=tuple(ranked) or ((_UNKNOWN, 0.0),),
    )


def _script(words: list[str]) -> str:
    """The script most letters of the first words are of, "" where there are none."""
    letters = Counter(_script_of(letter) for word in words[:200] for letter in word[:20])
    return max(letters, key=lambda script: (letters[script], script)) if letters else ""


def _script_of(letter: str) -> str:
    if letter.isascii():
        return "LATIN"
    return unicodedata.name(letter, "").partition(" ")[0]
