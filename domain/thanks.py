"""Messages that are nothing but thanks: they need no answer, and no ticket that is open again.

It is better to open a ticket for nothing than to leave one closed that somebody needs: what is not
understood to the last word is no thanks. English and German.
"""

import re
from collections.abc import Iterable, Set

from domain.triage import own_words, unquoted

MOST_WORDS = 16
_LONGEST = 400  # characters, with the signature; nobody thanks at greater length

_OPENING = (
    r"(?:ok|okay|great|perfect|super|cool|awesome|excellent|wonderful|brilliant|nice|lovely|"
    r"fantastic|amazing|yes|yep|hi|hello|hey|dear|good morning|team|all|everyone|guys|"
    r"perfekt|prima|klasse|toll|spitze|top|wunderbar|alles klar|ja|hallo|liebe|lieber|liebes|"
    r"guten (?:tag|morgen|abend)|moin|herr|frau|mr|mrs|ms)"
)
_THANKS = (
    r"(?:(?:many )?(?:thanks|thank you|thank u|thx|tnx|ty)|much appreciated|"
    r"(?:i |we )?(?:really )?appreciate (?:it|that)|"
    r"(?:(?:vielen|herzlichen|besten|tausend|schönen) )?(?:lieben )?(?:dank|danke)|"
    r"danke(?:schön|sehr)|merci|(?:ich|wir) (?:danke|danken))"
    r"(?: (?:so much|very much|a lot|a million|again|once again|everyone|team|"
    r"dir|ihnen|euch|schön|sehr|vielmals|nochmal|nochmals|noch mal|auch|allen|herzlich))*"
    r"(?: for (?:all )?(?:your|the) (?:(?:quick|fast|great|kind|prompt|swift|good) )*"
    r"(?:help|support|reply|response|answer|assistance|service)|"
    r" für (?:die|ihre|deine|eure|den|ihren|deinen|euren|alles)"
    r"(?: (?:(?:schnelle|tolle|prompte|super|gute|nette|rasche)n? )*"
    r"(?:hilfe|antwort|unterstützung|rückmeldung|support|service|lösung))?)?"
)
_FINE = (
    r"(?:(?:now |jetzt |nun )?(?:(?:it|that|this|everything|all)(?: is|'s|s)? (?:all |now )?)?"
    r"(?:works|worked|working|solved|resolved|fixed|fine|good|perfect|great|sorted|done|helped|"
    r"did the trick)(?: (?:now|again|perfectly|fine|great|well|like a charm))*|"
    r"(?:es |das |alles |jetzt |nun )*(?:klappt|funktioniert|geht|läuft|passt|hat geklappt|"
    r"hat funktioniert|hat geholfen|hat sich erledigt|ist erledigt|ist gelöst|erledigt|gelöst|"
    r"bestens|alles gut|gut|wieder da)(?: (?:jetzt|nun|wieder|alles|perfekt|super|gut|bestens|"
    r"einwandfrei))*)"
)
_WISHES = (
    r"(?:have a (?:nice|good|great|lovely) (?:day|one|weekend|evening)|"
    r"(?:(?:einen )?schönen|ein schönes) (?:tag|abend|feierabend|wochenende)(?: noch)?|"
    r"(?:kind |best |warm )?regards|best wishes|cheers|best|"
    r"(?:viele|beste|liebe|schöne) grüße|(?:lieben|schönen|viele) gruß|gruß|grüße|lg|vg|mfg|"
    r"mit freundlichen grüßen)"
)
# What must stand nowhere, not even below the name: a denial, a reservation, a wish, a question.
_RESERVED = frozenset(
    """
    not no never nothing isn't doesn't don't didn't won't can't cannot couldn't wasn't haven't
    but however still yet although except unfortunately sadly again another also problem issue
    error wrong broken fail fails failed bad worse please could would can should need want help
    call send reopen when why how what where which who
    nicht nein nie nichts kein keine keinen keiner keins aber jedoch dennoch trotzdem noch leider
    immer wieder fehler problem kaputt falsch schlecht bitte könnte könnten können kannst brauche
    brauchen möchte möchten will wollen sollte wann warum wie was wo welche wer ob frage fragen
    außerdem zusätzlich ebenfalls sonst
    """.casefold().split()
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_PARTS = re.compile(r"[.!,;:…\n–—()*\"“”„-]+")
# Pictures of punctuation, before they are taken apart with it.
_SMILES = re.compile(r"(?<!\S)(?:[:;=]-?[)DPp]+|<3|\^\^)")
_QUESTIONS = re.compile(r"[?？]")
_TELLING = re.compile(r"[\d@/\\<>{}=%€$#&+]")


def _piece(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:{pattern})(?= |$)".replace("ß", "ss"))


_PIECES = tuple(_piece(pattern) for pattern in (_OPENING, _FINE, _WISHES))
_SAYS_THANKS = _piece(_THANKS)


def nothing_but_thanks(text: str, *, names: Iterable[str] = ()) -> bool:
    """Whether a message says thank you, and nothing else at all.

    `names` are those of people here, which thanks may name. A question, a figure, an address, a
    word that is no part of thanking, and it is not.
    """
    whole = unquoted(text)
    if not whole or len(whole) > _LONGEST or _QUESTIONS.search(whole):
        return False
    said = own_words(text)
    if not whole.startswith(said):
        return False  # the words stand within what they quote
    if any(word in _RESERVED for word in _WORD.findall(whole[len(said) :].casefold())):
        return False  # more stands below the name than a name
    bare = _SMILES.sub(" ", said)
    if _TELLING.search(bare) or len(_WORD.findall(bare)) > MOST_WORDS:
        return False
    known = {word.casefold() for name in names for word in _WORD.findall(name) if len(word) > 1}
    thanked = False
    for part in _PARTS.split(_undecorated(bare)):
        words = " ".join(part.split())
        if words:
            found = _understood(words, known)
            if found is None:
                return False
            thanked = thanked or found
    return thanked


def _understood(words: str, known: Set[str]) -> bool | None:
    """Whether these words thank; None where not all of them are understood.

    Place by place, not as one expression: whatever is written costs a few looks at each word.
    """
    reached: dict[int, bool] = {0: False}  # where a piece may begin, and whether thanks came before
    for at in range(len(words)):
        if at not in reached:
            continue
        ends = [
            (match.end(), pattern is _SAYS_THANKS)
            for pattern in (*_PIECES, _SAYS_THANKS)
            if (match := pattern.match(words, at))
        ]
        word = words[at:].partition(" ")[0]
        if word in known:
            ends.append((at + len(word), False))
        for end, thanks in ends:
            reached[end + 1] = reached.get(end + 1, False) or reached[at] or thanks
    return reached.get(len(words) + 1)


def _undecorated(said: str) -> str:
    """In small letters, without pictures."""
    return "".join(
        character
        if character.isalnum() or character.isspace() or character.isascii() or character in _MARKS
        else " "
        for character in said.casefold().replace("’", "'")
    )


_MARKS = "“”„–—…"
