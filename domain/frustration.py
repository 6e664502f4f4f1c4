"""How fed up a customer is, read off their own words: which words say so, and how loudly.

A mood says negative, neutral or positive; most requests for help are negative without anybody being
angry. Frustration is what is left when the trouble itself is taken away: the third time of asking,
silence, a threat to leave, words of anger, shouting. Read by rules, so that every reading can be
explained by the words that made it. English and German; in other languages only shouting is seen.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from domain.triage import Frustration, Guess, Level, Prediction, Sentiment, Sign

RULES: Final = "frustration-1"
"""What read it: another, where another list of phrases or another sum would say otherwise."""

SOME: Final = 0.35
HIGH: Final = 0.65
LONGEST: Final = 4_000
"""Characters that are looked at: whoever is angry says so before that, and logs say anything."""

MOST_OF_A_KIND: Final = 3
_NEGATIVE: Final = 0.25  # what a mood that is certainly negative adds by itself
_BEFORE: Final = 0.5  # of what was read before: a short line later calms nobody
_SOFTENED: Final = 0.6  # what a mood that is certainly positive takes away
_QUOTABLE: Final = 60  # characters of what decided that are shown


def frustration_of(text: str, mood: Guess | None = None, *, before: float = 0.0) -> Frustration:
    """How fed up the writer of `text` is; `mood` is what a model says of the same words.

    What a model cannot read says nothing. Signs add up as independent doubts do, at most three of
    a kind: a tenth exclamation mark is no louder than the third. Half of what was read `before`
    counts on, so that anger wears off message by message, or at once where the mood turns.
    """
    words = text[:LONGEST]
    signs = sorted(_signs(words), key=lambda sign: (-sign.weight, sign.kind, sign.words))
    calm = 1.0
    for sign in signs:
        calm *= 1 - sign.weight
    negative, positive = _leaning(mood)
    if negative > 0:
        weight = round(_NEGATIVE * negative, 3)
        calm *= 1 - weight
        signs.append(Sign(kind="mood", words="negative", weight=weight))
    if before > 0:
        weight = round(_BEFORE * before, 3)
        calm *= 1 - weight
        signs.append(Sign(kind="before", words="earlier messages", weight=weight))
    value = round((1 - calm) * (1 - _SOFTENED * positive), 3)
    return Frustration(value=value, level=level_of(value), signs=tuple(signs), rules=RULES)


def level_of(value: float) -> Level:
    if value >= HIGH:
        return Level.HIGH
    return Level.SOME if value >= SOME else Level.NONE


def _leaning(mood: Guess | None) -> tuple[float, float]:
    """How likely the mood is negative and positive, counted from where it is likelier than not."""
    if mood is None or (isinstance(mood, Prediction) and mood.out_of_scope):
        return 0.0, 0.0
    shares = dict(mood.top)
    negative, positive = shares.get(Sentiment.NEGATIVE, 0.0), shares.get(Sentiment.POSITIVE, 0.0)
    return max(0.0, 2 * negative - 1), max(0.0, 2 * positive - 1)


# Signs. Each list is of one loudness; what is only annoying alone is enough in company.

_ORDINAL = (
    r"(?:2nd|second|3rd|third|4th|fourth|5th|fifth|6th|sixth|seventh|eighth|ninth|tenth|"
    r"umpteenth|nth|hundredth|\d{1,3}th)"
)
_ORDINAL_DE = (
    r"(?:zweite|dritte|vierte|fünfte|sechste|siebte|achte|neunte|zehnte|zigste|x-te|xte|"
    r"wiederholte|hundertste|tausendste|\d{1,3}\.)[nrms]?"
)
_SOME = r"(?:\d{1,3}|two|three|four|five|six|seven|eight|nine|ten|several|many|a few)"
_SOME_DE = r"(?:\d{1,3}|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|mehreren|vielen|einigen)"
_SPAN = r"(?:hours|days|weeks|months|years)"
_SPAN_DE = r"(?:stunden|tagen?|wochen|monaten?|jahren?)"

_PHRASES: Final[Mapping[str, tuple[tuple[float, str], ...]]] = {
    "ultimatum": (
        (0.6, r"(?:my|our|a|an) (?:lawyer|attorney|solicitor)s?"),
        (0.6, r"legal (?:action|steps|proceedings)"),
        (0.6, r"small claims(?: court)?|charge ?back|trading standards|consumer protection"),
        (0.6, r"(?:your (?:very )?last|final) (?:chance|warning)|last warning"),
        (0.6, r"(?:take|taking) (?:my|our) (?:business|money|custom) elsewhere"),
        (
            0.5,
            r"(?:or|otherwise)(?: else)?,? (?:i|we)(?:'ll| will| am| are| shall)"
            r"(?: going to| have to)? (?:cancel\w*|leav\w+|switch\w*|dispute|report\w*|mov\w+"
            r"|go(?:ing)?|sue|quit)",
        ),
        (0.5, r"(?:cancel(?:ing|ling)?|leaving|switching|moving) (?:\w+ ){0,5}?(?:if|unless)"),
        (
            0.5,
            r"(?:if|unless) (?:[\w']+,? ){2,14}?(?:i|we)(?:'ll| will| am| are|'m|'re)(?: going to)?"
            r" (?:cancel\w*|leav\w+|switch\w*|dispute|su(?:e|ing)|quit)",
        ),
        (0.4, r"(?:switch|go|mov)\w* (?:over )?to (?:a|another|your) competit\w+"),
        (0.6, r"(?:meine[mnr]?|unsere[mnr]?|eine[mnr]?|zum) (?:rechts)?anw[aä]lt\w*"),
        (0.6, r"rechtliche\w* schritte\w*|rechtsweg|verbraucherzentrale|verbraucherschutz"),
        (0.6, r"letzte (?:chance|warnung|aufforderung)"),
        (0.6, r"fristlos\w*"),
        (0.5, r"(?:sonst|andernfalls|ansonsten) (?:\w+ ){0,2}(?:kündig\w*|wechs\w*|storni\w*)"),
        (
            0.5,
            r"(?:wenn|falls|sofern) (?:\w+,? ){2,14}?(?:kündige|wechsle|storniere|klage)\w*"
            r" (?:ich|wir)",
        ),
        (0.4, r"(?:zur|zu einer?) (?:konkurrenz|anderen anbieter|mitbewerber)"),
    ),
    "anger": (
        (0.6, r"(?:completely |totally |simply |just )?(?:un|in)acceptable"),
        (0.6, r"beyond a joke|(?:is|it's|are|what|such) a (?:complete |total |sick |bad )?joke"),
        (0.6, r"not (?:at all )?(?:acceptable|good enough)"),
        (
            0.6,
            r"outrageous|disgraceful|disgusting|appalling|pathetic|shambles|scandalous|infuriating"
            r"|atrocious|abysmal|furious|livid",
        ),
        (0.6, r"fed up|sick (?:and tired )?of|had enough|enough is enough|last straw"),
        (
            0.6,
            r"(?:lost|losing|lose|out of|end of) (?:all |my |our |any )*(?:patience|faith)"
            r"|patience is (?:running|wearing) \w+",
        ),
        (0.6, r"worst (?:\w+ ){0,2}(?:service|support|company|experience|airline|customer)\w*"),
        (
            0.55,
            r"(?:terrible|horrible|awful|lousy|shocking|dreadful) (?:\w+ ){0,2}"
            r"(?:service|support|experience|company|airline)",
        ),
        (0.55, r"ridiculous|absurd|incompeten\w+|unprofessional|clueless"),
        (0.5, r"(?:very |so |really |extremely )?frustrat(?:ed|ing)"),
        (
            0.5,
            r"(?:very|so|really|extremely|i'm|am|are|we're|getting|quite|rather)"
            r"(?: very| so| really)? (?:angry|annoyed|annoying|mad)",
        ),
        (0.5, r"(?:what|how|why) the (?:hell|heck|f\w+)|wtf|ffs|are you kidding|shame on you"),
        (0.5, r"for (?:god|heaven|christ|pete|goodness)'?s? sake|never again|bullshit|screw you"),
        (0.5, r"waste of (?:my |our )?(?:time|money)|rip-?off|scammers?"),
        (0.5, r"you (?:people|guys) (?:suck|are useless)|(?:this|that|it|service) sucks"),
        (0.4, r"(?:very |so |really |extremely |deeply )?(?:disappoint(?:ed|ing)|upset)"),
        (0.4, r"useless|unbelievable|do(?:es)?(?: not|n't) (?:even )?care|nobody cares"),
        (0.6, r"(?:völlig |absolut )?(?:in|un)akzeptabel"),
        (0.6, r"nicht (?:mehr |länger )?(?:akzeptabel|hinnehmbar)"),
        (
            0.6,
            r"unverschämt\w*|frechheit|unzumutbar\w*|zumutung|skandal\w*|katastroph\w+|saftladen"
            r"|sauladen|dreist\w*|unter aller sau|zum kotzen|armutszeugnis",
        ),
        (0.6, r"wütend|stinksauer|stocksauer|fassungslos|(?:bin|sind) (?:\w+ ){0,2}sauer"),
        (0.6, r"(?:die )?(?:nase|schnauze) (?:gestrichen )?voll"),
        (0.6, r"(?:mir|uns) reicht(?:'?s| es)|es reicht(?: jetzt| mir| uns| langsam)"),
        (
            0.6,
            r"geduld (?:\w+ ){0,3}(?:ende|verloren)|ende (?:meiner|unserer) geduld|"
            r"(?:letzter nerv|platzt (?:mir )?der kragen)",
        ),
        (0.55, r"lächerlich\w*|unprofessionell\w*|inkompeten\w+|ein (?:schlechter )?witz"),
        (0.55, r"(?:schlechteste|miese|miserable|mieseste|grottige|unterirdische)\w* \w+"),
        (0.5, r"(?:sehr |so |total |echt )?(?:verärgert|genervt|frustrier\w+|ärgerlich)"),
        (0.5, r"nie wieder|was soll das|verarscht?|wollen sie mich|abzocke\w*|zeitverschwendung"),
        (0.4, r"(?:sehr |schwer |wirklich |maßlos |zutiefst )?enttäusch(?:t|end)"),
    ),
    "again": (
        (0.5, rf"(?:for )?(?:the|my|our) {_ORDINAL} (?:time|attempt|e?-?mail|message|ticket|request"
              r"|reminder|call|complaint)"),
        (0.5, rf"{_ORDINAL} time (?:now|already|in|i|we|this|that|asking|writing)"),
        (0.25, r"again and again|over and over|time and again"),
        (0.45, r"how many (?:more )?times|how often"),
        (0.25, r"(?:yet|once) again"),
        (
            0.4,
            r"(?:i|we)(?:'ve| have) (?:now )?(?:already|repeatedly|now) (?:\w+ ){0,2}?"
            r"(?:written|called|asked|told|contacted|explained|sent|reported|emailed|mailed)",
        ),
        (
            0.4,
            r"(?:written|called|asked|contacted|emailed|reported|explained|told)"
            rf" (?:\w+ ){{0,4}}?(?:{_SOME}|multiple|numerous|countless) times",
        ),
        (0.4, r"(?:keeps?|kept) (?:on )?(?:failing|crashing|asking|ignoring|telling|sending|getting"
              r"|happening|charging|breaking|hanging)"),
        (0.5, rf"zum (?:{_ORDINAL_DE}|x-ten|zigsten) mal\w*"),
        (0.5, rf"(?:meine|unsere|die) {_ORDINAL_DE} (?:mail|e-mail|nachricht|anfrage|erinnerung"
              r"|beschwerde|anlauf|versuch)"),
        (0.45, r"wie oft (?:noch|soll\w*|muss|müssen)|immer und immer wieder"),
        (0.4, r"schon wieder|x-mal|zigmal"),
        (0.2, r"mehrfach|mehrmals|wiederholt|ständig"),
        (
            0.4,
            r"hab(?:e|en)? (?:ich |wir )?(?:ihnen |euch |dir |das )?(?:schon|bereits)"
            r" (?:\w+ ){0,5}?"
            r"(?:geschrieben|angerufen|gefragt|gesagt|gemeldet|erklärt|geschickt|mitgeteilt)",
        ),
    ),
    "silence": (
        (0.4, r"still (?:not|no|nothing|haven't|hasn't|isn't|doesn't|don't|can't|cannot|won't"
              r"|waiting|broken|unresolved|missing)"),
        (0.35, r"(?:has|have|is|does|do|am) still not|still (?:have|has) not"),
        (
            0.45,
            r"(?:(?:heard|got|received|had) )?"
            r"(?:no|zero|nothing|not a single|without (?:any|an?|one))"
            r" (?:reply|replies|response|responses|answer|answers|reaction|update|word back)",
        ),
        (
            0.45,
            r"(?:nobody|no one|noone) (?:\w+ )?(?:repl|answer|respond|help|react|car|call)\w*",
        ),
        (0.5, r"(?:being|been|keep|are you) ignor\w+|ignor(?:ed|ing) (?:me|us|my|our)"),
        (
            0.4,
            r"wait(?:ed|ing) (?:\w+ ){0,3}?(?:for |since )?(?:over |more than )?"
            rf"{_SOME} {_SPAN}",
        ),
        (
            0.35,
            rf"(?:for|after) (?:over |more than )?(?:{_SOME} )?{_SPAN}"
            r"(?: now| of (?:waiting|silence))",
        ),
        (0.3, r"any(?:body|one) (?:there|home|reading|alive)|hello\?{1,}"),
        (0.4, r"(?:immer noch|noch immer) (?:nicht|nichts|kein\w*|defekt|kaputt|offen)"),
        (
            0.45,
            r"(?:keine|keinerlei|ohne|weder) (?:eine |jede |jegliche )?"
            r"(?:antwort|reaktion|rückmeldung)",
        ),
        (
            0.45,
            r"niemand (?:\w+ ){0,3}?(?:antwort|meld|hilf|reagier|zuständig|kümmer|interessier)"
            r"\w*",
        ),
        (0.4, r"wart(?:e|en) (?:ich |wir )?(?:\w+ )?(?:seit|schon)"),
        (0.25, rf"(?:schon )?seit (?:{_SOME_DE} )?{_SPAN_DE}"),
        (0.4, r"ignorier\w+|vergeblich|tote leitung|ist da (?:überhaupt )?jemand"),
    ),
    "demand": (
        (0.15, r"immediately|right now|at once|a s a p|asap|without (?:further )?delay"),
        (0.2, r"(?:i|we) (?:demand|insist)|speak to (?:a|your) (?:manager|supervisor)"),
        (0.15, r"sofort|umgehend|unverzüglich|auf der stelle"),
        (0.2, r"(?:ich|wir) (?:verlange|fordere|bestehe)\w*|(?:ihr\w*|dem) vorgesetzten?"),
    ),
}  # fmt: skip

_SHOUTED: Final = 0.3
_MARKED: Final = 0.25
_FOLD = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'"})
_SPACES = re.compile(r"\s+")
# "not angry", "nicht verärgert", and what asks or promises rather than tells.
_DENIED = re.compile(
    r"(?:\bnot|\bno longer|\bnever|n't|\bwithout being|\bhardly|\bnicht(?: mehr)?|\bkein\w{0,2}"
    r"|\bkeineswegs|\bweder|\bohne)(?: (?:at all|very|really|so|too|a|an|any|be|been|get|sehr|so"
    r"|wirklich|mehr|besonders|hier))* $"
)
_MARKS = re.compile(r"!{2,}|\?{3,}|(?:\?!|!\?)[?!]*")
_WORD = re.compile(r"[^\W\d_]{2,}")
_CAPITALS = re.compile(r"\b[A-ZÄÖÜ]{2,}(?:'[A-Z]{1,2})?(?:[ ,]+[A-ZÄÖÜ]{2,}(?:'[A-Z]{1,2})?){2,}\b")

_COMPILED: Final = tuple(
    (kind, weight, re.compile(rf"(?<![\w'])(?:{phrase})(?!\w)"))
    for kind, phrases in _PHRASES.items()
    for weight, phrase in phrases
)


def _signs(text: str) -> Iterator[Sign]:
    """What speaks for frustration, of each kind the loudest three, no words twice."""
    said = _SPACES.sub(" ", text.translate(_FOLD))
    folded = said.lower()
    found: dict[str, list[Sign]] = {}
    taken: set[int] = set()
    for kind, weight, phrase in _COMPILED:
        for match in phrase.finditer(folded):
            places = range(*match.span())
            if not taken.isdisjoint(places):
                continue
            before = folded[max(0, match.start() - 40) : match.start()]
            if kind == "anger" and _DENIED.search(before):
                continue
            taken.update(places)
            found.setdefault(kind, []).append(
                Sign(kind=kind, words=match[0].strip()[:_QUOTABLE], weight=weight)
            )
    for signs in found.values():
        signs.sort(key=lambda sign: -sign.weight)
        yield from signs[:MOST_OF_A_KIND]
    yield from _shouting(said)


def _shouting(said: str) -> Iterator[Sign]:
    """Capitals side by side, or nearly everywhere, and marks in runs."""
    words = _WORD.findall(said)
    loud = [word for word in words if len(word) > 3 and word.isupper()]
    run = max(_CAPITALS.findall(said), key=len, default="")
    of_a_run = [word for word in _WORD.findall(run) if len(word) > 3]
    if len(of_a_run) >= 2 and (len(words) <= 40 or len(loud) >= 4):
        yield Sign(kind="capitals", words=run[:_QUOTABLE], weight=_SHOUTED)
    elif len(loud) >= 3 and len(loud) >= 0.3 * len(words):
        yield Sign(kind="capitals", words=" ".join(loud[:4])[:_QUOTABLE], weight=_SHOUTED)
    marks = max(_MARKS.findall(said), key=len, default="")
    if marks:
        yield Sign(kind="marks", words=marks[:10], weight=_MARKED)


__all__ = ["HIGH", "RULES", "SOME", "frustration_of", "level_of"]
