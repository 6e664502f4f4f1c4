"""What could name a person, or let somebody in, is taken out of a text and put back afterwards.

Patterns and labels in English and German, no model: "password hunter2", "geboren am 1.2.1980". What
is found stands for itself as `[[KIND_1]]`, the same thing the same everywhere, so that a text can
still be read. Where it is unclear, a thing goes rather than stays: it comes back in the answer.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

PLACEHOLDER = re.compile(r"\[\[([A-Z]+_\d+)\]\]")
ANY_PLACEHOLDER = re.compile(r"\[\[[^\[\]\n]{0,40}\]\]")

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]


class Unusable(Exception):
    """An answer that may not be shown; the sentence says why."""


@dataclass(slots=True)
class Redactor:
    """Puts placeholders where persons could be recognised, and the persons back.

    One for all texts of one question, so that the same address is the same placeholder everywhere.
    """

    names: Sequence[str] = ()
    _known: dict[str, str] = field(default_factory=dict)  # by what it stands for
    _counts: dict[str, int] = field(default_factory=dict)

    def redacted(self, text: str) -> str:
        """`text` without whatever `KINDS` finds in it, and without the names."""
        # What looks like a placeholder already would be taken for one of ours.
        text = text.replace("[[", "[ [").replace("]]", "] ]")
        return "".join(
            piece if kind is None else self._put(kind, piece)
            for kind, piece in _pieces(text, self.names)
        )

    def restored(self, text: str) -> str:
        """`text` with what the placeholders stand for. Raises Unusable for one never given."""
        by_name = {placeholder: value for value, placeholder in self._known.items()}
        for found in ANY_PLACEHOLDER.findall(text):
            if found not in by_name:
                raise Unusable("It names a placeholder that it was never given.")
        return PLACEHOLDER.sub(lambda m: by_name[m[0]], text)

    @property
    def count(self) -> int:
        """How many different things were kept back."""
        return len(self._known)

    def _put(self, kind: str, value: str) -> str:
        if value not in self._known:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._known[value] = f"[[{kind}_{self._counts[kind]}]]"
        return self._known[value]


def without_persons(text: str, names: Sequence[str] = ()) -> str:
    """A source's words with what could be about its persons taken out for good.

    They are other people than the customer: nothing of them may come back. Addresses of private
    networks are in many a manual and name nobody.
    """
    text = text.replace("[[", "[ [").replace("]]", "] ]")
    return "".join(
        piece if kind is None or (kind == "IP" and _is_private(piece)) else "…"
        for kind, piece in _pieces(text, names)
    )


def _pieces(text: str, names: Sequence[str]) -> list[tuple[str | None, str]]:
    """The text in pieces, each with the kind of thing it is; None for what may be read."""
    pieces: list[tuple[str | None, str]] = [(None, text)]
    for kind, finder in (*KINDS, ("NAME", _named(names))):
        after: list[tuple[str | None, str]] = []
        for known, piece in pieces:
            if known is not None:
                after.append((known, piece))
                continue
            done = 0
            for start, end in finder(piece):
                after += [(None, piece[done:start]), (kind, piece[start:end])]
                done = end
            after.append((None, piece[done:]))
        pieces = [(known, piece) for known, piece in after if piece]
    return pieces


def _matching(*patterns: str, flags: int = 0, only: Callable[[str], bool] | None = None) -> Finder:
    """Where one of the patterns is, or its group `value` where it has one."""
    compiled = [re.compile(pattern, flags) for pattern in patterns]

    def find(text: str) -> Iterator[Span]:
        spans = sorted(
            span
            for pattern in compiled
            for match in pattern.finditer(text)
            if (span := match.span("value" if "value" in pattern.groupindex else 0))[0] < span[1]
            and (only is None or only(text[span[0] : span[1]]))
        )
        done = 0
        for start, end in spans:
            if start >= done:
                yield start, end
                done = end

    return find


# Secrets.

_PASSWORD: Final = (
    r"(?:pass(?:wor[dt]|phrase|code)s?|passwd|kennwort|geheimwort|schl[üu]sselwort|losung"
    r"|(?<![^\W_])(?:pwd|pw)|netzwerkschl[üu]ssel|w[-]?lan[- ]schl[üu]ssel|wpa[- ]key|zugangscode"
    r"|access code|freischaltcode|api[- _]?(?:key|schl[üu]ssel|token)|secret(?:[- _]key)?"
    r"|(?:access|auth|bearer|session|refresh)[- _]?token|token|private[- _]key"
    r"|(?:license|licence|product)[- _]key|lizenzschl[üu]ssel|produktschl[üu]ssel)"
)
_PIN: Final = (
    r"(?:(?<![^\W_])(?:pin|puk|tan|otp|cvv2?|cvc2?|cvn)(?:[- ]?(?:code|nummer|number|nr\.?))?"
    r"|geheimzahl|pr[üu]fziffer|security code|verification code|one[- ]time (?:code|password)"
    r"|2fa[- ]code|sicherheitscode|best[äa]tigungscode|einmal(?:code|passwort|kennwort))"
)
# What may stand between a label and its value: "password for the portal (new) is: ..."
_ABOUT: Final = (
    r"(?:\s\([^)\n]{1,20}\))?(?:\s(?:for|f[üu]r|of|to|von|vom|zu[mr]?|am|im|on)"
    r"(?:\s[^\s:=]{1,60}){1,3}?)?"
)
_SAYS: Final = r"(?:is|was|are|ist|war|lautet|hei[ßs]+t)"
_NOT_A_LINK: Final = r"(?!https?://|www\.)"
_QUOTED: Final = r"[\"'“”„«»‚‘`](?P<value>[^\"'“”„«»‘’`\n]{1,80})[\"'“”«»‘’`]"
# As it is read by people: a plain word is one ("password wrong"), these are none.
_STRANGE: Final = (
    r"(?P<value>(?=[^\s\"'<>]{4,80})(?:"
    r"(?=[^\s]*[^\W\d_])(?=[^\s]*\d)"  # letters and digits
    r"|(?=[\w.-]*[!#$%&*@^~+=?§/\\|][^\s.,;:!?])"  # a sign within
    r"|(?=\w*[a-zäöüß][A-ZÄÖÜ])"  # a capital within
    r"|(?=\d{4,}(?!\w)))"
    r"[^\s\"'<>]*[^\s\"'<>.,;:!?)\]])"
)
_TAIL: Final = r"[^\s\"'<>]{0,79}[^\s\"'<>.,;:!?)\]}]"

_SECRET: Final = _matching(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{0,8000}?(?:-----END [A-Z ]{0,30}-----|\Z)",
    r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
    r"(?<![\w-])(?:sk|pk|rk)[-_][\w-]{16,}|(?<!\w)gh[opsur]_\w{20,}|(?<!\w)github_pat_\w{20,}"
    r"|(?<!\w)glpat-[\w-]{16,}|(?<!\w)xox[abprs]-[\w-]{10,}|(?<!\w)(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)"
    r"|(?<!\w)AIza[\w-]{30,}|(?<!\w)whsec_[\w+/=-]{16,}",
    r"(?i)\bbearer\s+(?P<value>[\w.~+/-]{12,}=*)",
    r"(?i)\b[a-z][a-z0-9+.-]{1,12}://[^\s/:@]{1,80}:(?P<value>[^\s/@]{1,80})@",
    r"(?i)[?&](?:[\w-]{0,20}(?:token|key|secret|signature|password|passwd)|sig|pw|pwd|sid|otp"
    r"|session|auth|code)=(?P<value>[^\s&#\"'<>]{3,})",
    rf"(?i){_PASSWORD}[\"']?{_ABOUT}(?:\s{_SAYS})?\s*[:=]\s*{_QUOTED}",
    rf"(?i){_PASSWORD}[\"']?{_ABOUT}(?:\s{_SAYS})?\s*(?:[:=]+>?|→)\s*{_NOT_A_LINK}"
    rf"(?P<value>[^\s\"'<>,;]{_TAIL}|[^\s\"'<>,;.:!?])",
    rf"(?i:{_PASSWORD}{_ABOUT}(?:\s{_SAYS})?\s){_QUOTED}",
    rf"(?i:{_PASSWORD}{_ABOUT}(?:\s{_SAYS})?\s){_NOT_A_LINK}{_STRANGE}",
    rf"(?i){_PIN}{_ABOUT}(?:\s(?:{_SAYS}))?\s*[:=]?\s*(?P<value>\d(?:[ -]?\d){{2,9}})(?![\w.,]?\d)",
)
# A long run of letters and digits is a key, whatever it is for.
_RANDOM: Final = _matching(
    r"(?<![\w/.=+-])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{32,}={0,2}(?![\w])"
)

# Accounts, documents, dates of birth.

_NUMBER_OF: Final = r"(?:[- ]?(?:number|no\.?|nr\.?|nummer|id|code))?"
_THEN: Final = rf"(?:\s{_SAYS})?\s*[:#=]?\s*"
# Countries whose account numbers begin with their letters.
_IBANS: Final = re.compile(
    r"A[DELT]|B[AEGHR]|C[HRYZ]|D[EOK]|E[EGS]|F[IR]|G[BEILRT]|H[RU]|I[ELST]|JO|K[WZ]|L[BITUV]"
    r"|M[CDEKRT]|N[LO]|P[KLT]|QA|R[OS]|S[AEIKM]|T[NR]|UA|V[AG]|XK"
)


def _is_iban(text: str) -> bool:
    """An account number, also one with a slip in it: it is somebody's nearly."""
    plain = re.sub(r"[ -]", "", text).upper()
    if not 15 <= len(plain) <= 34 or sum(c.isdigit() for c in plain) < 8:
        return False
    moved = "".join(str(int(c, 36)) for c in plain[4:] + plain[:4])
    return _IBANS.match(plain) is not None or int(moved) % 97 == 1


def _is_card(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()][::-1]
    total = sum(d if n % 2 == 0 else sum(divmod(2 * d, 10)) for n, d in enumerate(digits))
    return total % 10 == 0 and any(digits)


_MONTH: Final = (
    r"(?:jan(?:uar[y]?)?|j[äa]nner|feb(?:ruar[y]?)?|m[äa]r(?:ch|z)?|apr(?:il)?|ma[yi]|june?|juni?"
    r"|july?|juli?|aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)\.?"
)
_DATE: Final = re.compile(
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[./-]\s?\d{1,2}[./-]\s?(?:\d{4}|\d{2}))(?!\d)"
)
_BIRTH: Final = _matching(
    r"(?i)(?:date of birth|birth ?date|birthday|(?<!\w)d\.?o\.?b\.?(?!\w)|\bborn(?: on)?"
    r"|geburtsdatum|geburtstag|\bgeboren(?: am)?|\bgeb\.?(?: am)?(?!\w))"
    rf"(?:\s(?:{_SAYS}|on|am))?\W{{0,4}}(?:{_SAYS}\s)?"
    rf"(?P<value>{_DATE.pattern}|\d{{1,2}}(?:st|nd|rd|th|\.)?\s?(?:of\s)?{_MONTH}\s?,?\s?\d{{2,4}}"
    rf"|{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{2,4}})"
)
_DOCUMENT: Final = _matching(
    r"\b(?!000|666|9\d\d)\d{3}-\d{2}-\d{4}\b(?!-?\d)",  # the number of US social security
    r"\b(?![DFIQUV])[A-Z](?![DFIQUVO])[A-Z]\s?\d{2}\s?\d{2}\s?\d{2}\s?[A-D]\b",  # UK
    r"\b\d{2}\s?[0-3]\d[01]\d{3}\s?[A-Z]\s?\d{3}\b",  # German pensions
    r"\b756\.\d{4}\.\d{4}\.\d{2}\b",  # Swiss
    r"(?i)(?:social security|\bssn|national insurance|\bnino|tax (?:id|identification|file)|\btin\b"
    r"|passport|identity card|\bid[- ]card|driv(?:ing|er'?s) licen[cs]e|national id"
    r"|steuer[- ]?(?:id|identifikations|ident)?(?:[- ]?(?:nr\.?|nummer))?|\bid-?nr\.?|\bidnr"
    r"|(?:personal)?ausweis(?:[- ]?(?:nr\.?|nummer))?|reisepass(?:[- ]?(?:nr\.?|nummer))?"
    r"|f[üu]hrerschein(?:[- ]?(?:nr\.?|nummer))?|sozialversicherung(?:s[- ]?(?:nr\.?|nummer))?"
    r"|\bsv-(?:nr\.?|nummer)|renten(?:versicherungs)?nummer|\bahv(?:-nr\.?)?"
    rf"|(?:kranken)?versicher(?:ten|ungs)[- ]?(?:nr\.?|nummer)){_NUMBER_OF}{_THEN}"
    r"(?P<value>(?=(?:[A-Z]{0,3}[ /.-]?\d){5})[A-Z0-9](?:[ /.-]?[A-Z0-9]){4,14})(?!\w)",
)
_ACCOUNT: Final = _matching(
    r"(?i)(?:kontonummer|konto-?nr\.?|\bblz|bankleitzahl|sort code|account (?:number|no\.?)"
    rf"|routing number){_THEN}(?P<value>\d(?:[ -]?\d){{3,17}})(?!\w)",
    rf"(?i)\b(?:bic|swift)(?:[- ]code)?{_THEN}"
    r"(?P<value>[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?)\b",
)
# By which a desk knows one person; orders, invoices and parcels stay.
_CUSTOMER: Final = _matching(
    r"(?i)(?:(?:customer|client|member(?:ship)?|patient|employee|student|policy|contract)"
    r"[- ](?:number|no\.?|nr\.?|id)|(?:kunden|mitglieds|patienten|personal|matrikel|vertrags|"
    rf"policen)[- ]?(?:nummer|nr\.?|id)){_THEN}"
    r"(?P<value>(?=[\w/.-]*\d[\w/.-]*\d[\w/.-]*\d)\w[\w/.-]{2,24}\w)(?!\w)",
)

# Networks.


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_private(text: str) -> bool:
    return _is_ip(text) and not ipaddress.ip_address(text).is_global


_IP: Final = _matching(
    r"(?<![\w.])(?<!v\s)(?<!version\s)(?<!Version\s)(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)",
    r"(?i)(?<![\w:.])(?=[0-9a-f:]*:[0-9a-f]*:)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])",
    only=_is_ip,
)
_DEVICE: Final = _matching(
    r"(?i)(?<![\w:-])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![\w:])",
    r"(?i)(?<![\w:-])(?:[0-9a-f]{2}-){5}[0-9a-f]{2}(?![\w-])",
    r"(?i)\bimei\W{0,3}(?P<value>\d{15})(?!\d)",
)

# Addresses.

_HOUSE: Final = r"\s*\d{1,4}(?:\s?[a-z](?!\w)|[a-z])?(?:\s?[-/]\s?\d{1,4}[a-z]?)?(?![\w%])"
_UPPER: Final = r"[A-ZÄÖÜ]"
_ADDRESS: Final = _matching(
    rf"\b(?:{_UPPER}[\w.-]*[ -]){{0,3}}(?i:[a-zäöüß][\w-]{{2,40}}?(?:straße|strasse|str\.|allee"
    rf"|gasse|chaussee)){_HOUSE}",
    rf"\b(?:{_UPPER}[\w.-]*[ -]){{1,3}}(?i:straße|strasse|str\.|allee|gasse|chaussee){_HOUSE}",
    rf"\b(?!Speicher|Arbeits|Park|Sitz|Stell|Steck|Listen|Warte)(?:{_UPPER}[\w.-]*[ -]){{0,3}}"
    rf"{_UPPER}\w*(?:weg|platz|ring|damm|ufer|stieg|markt|graben)\s{_HOUSE}",
    rf"\b(?:Am|An de[rn]|Auf de[rm]|Im|In de[rn]|Unter den|Zum|Zur)(?:\s{_UPPER}[\w-]{{2,}}){{1,2}}"
    r"\s\d{1,4}\s?[a-z]?(?=\s*(?:,|$|\n|in\s|\d{5}))",
    r"\b\d{1,5}[a-z]?,?\s+(?:[A-Z][\w'.-]*\s+){1,4}(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr"
    r"|Boulevard|Blvd|Way|Court|Ct|Place|Square|Terrace|Close)\b\.?",
    r"(?i)\b\d{1,5}[a-z]?,?\s+(?:[a-z][\w'.-]*\s+){1,2}(?:street|avenue|boulevard)\b",
    rf"\b(?:[A-Z]{{1,2}}-)?\d{{5}}\s+(?!Euro\b|EUR\b|Stück|Artikel|Kunden\b|Nutzer|Dateien|Zeilen"
    rf"|Mal\b|Tage|Stunden|Punkte|Seiten|Zeichen){_UPPER}[\wäöüß-]+"
    rf"(?:\s(?:am|an der|im|bei)\s{_UPPER}[\wäöüß-]+)?",
    r"\b[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}\b",
    r"\b(?:[A-Z][a-z]+\s?){1,3},?\s[A-Z]{2}\s\d{5}(?:-\d{4})?(?!\d)",
    r"(?i)\b(?:postfach|p\.?\s?o\.?\s?box)\s\d[\d ]{0,9}\d",
    r"(?i)(?<![\w-])(?<!mail )(?<!mail-)(?<!ip )(?<!ip-)(?<!mac )(?<!mac-)(?<!web )"
    r"(?:(?:home|postal|shipping|delivery|billing|street) address|address"
    r"|(?:liefer|rechnungs|post)?(?:anschrift|adresse))(?:\s(?:is|ist|lautet))?\s?:\s?(?P<value>(?=[^\n]*\d)[^\n\[]{6,120})",
)

# Phones.

_CALLED: Final = re.compile(
    r"(?i)(?:\btel|telefon\w*|\bphone|\bfon|\bmobile?|\bhandy\w*|\bcell\w*|\bfax|\bcall|\bring|\breach"
    r"|whats ?app|\bsms|rufnummer|r[üu]ckruf\w*|anrufen|erreich\w*|my number|meine nummer"
    r"|contact number)[^\d\n+]{0,25}$"
)
_REFERENCE: Final = re.compile(
    r"(?i)(?:order|invoice|receipt|ticket|case|reference|\bref|tracking|parcel|serial|\bs/?n|article"
    r"|item|part|booking|delivery|shipment|\brma|\bsku|\bean|transaction|model|build|version|error"
    r"|bestell\w*|auftrag\w*|rechnung\w*|vorgang\w*|sendung\w*|paket\w*|serien\w*|artikel\w*|buchung\w*"
    r"|liefer\w*|aktenzeichen|referenz\w*|beleg\w*|ger[äa]te\w*|fehler\w*|#)\.?"
    rf"(?:[- ]?(?:number|no|nr|nummer|id|code))?\.?(?:\s{_SAYS})?\W{{0,4}}$"
)
_DIALLED: Final = re.compile(
    r"(?<![\w.,/#-])(?:\+|00)?\(?\d(?:[ ()/.-]{0,3}\d){5,14}(?!\w|[-/.,]\d)"
)
_AMOUNT: Final = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_MONEY: Final = re.compile(r"(?i)\s?(?:€|\$|£|eur|usd|gbp|chf|euro|kb|mb|gb|ms|bytes)")
_GROUP: Final = re.compile(r"[+(]*\d+(?:[-/.]\d+| [1-9]\d*)*")


def _phones(text: str) -> Iterator[Span]:
    place = 0
    while found := _DIALLED.search(text, place):
        start, end = found.span()
        before = text[max(0, start - 60) : start]
        date = _DATE.match(text, start)
        if date is not None:
            place = date.end()
        elif _is_phone(found[0], before, text[end : end + 6]):
            yield start, end
            place = end
        else:  # one that begins with a nought may stand behind it
            group = _GROUP.match(text, start)
            place = max(start + 1, group.end() if group else 0)


def _is_phone(number: str, before: str, after: str) -> bool:
    digits = sum(c.isdigit() for c in number)
    if _REFERENCE.search(before) or _MONEY.match(after) or _AMOUNT.fullmatch(number):
        return False
    if _CALLED.search(before) or number[0] in "+(":
        return True
    if digits < 7:
        return False
    if number[0] == "0" or re.fullmatch(r"\d{3}[ .-]\d{3}[ .-]\d{4}", number):
        return True
    # Dots alone are a version, digits alone are what things are numbered by.
    return not re.fullmatch(r"[\d.]+", number)


def _named(names: Iterable[str]) -> Finder:
    found: set[str] = set()
    for name in names:
        found.add(" ".join(name.split()))
        found.update(part for part in re.split(r"[\s,]+", name) if len(part) >= 3)
    parts = sorted((one for one in found if len(one) >= 2), key=len, reverse=True)
    if not parts:
        return lambda text: iter(())
    return _matching(rf"(?<!\w)(?:{'|'.join(map(re.escape, parts))})(?!\w)", flags=re.I)


KINDS: Final[Sequence[tuple[str, Finder]]] = (
    ("SECRET", _SECRET),
    ("EMAIL", _matching(r"(?<![\w.+%-])[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")),
    ("DEVICE", _DEVICE),
    ("ACCOUNT", _matching(
        r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?\b", only=_is_iban
    )),
    ("CARD", _matching(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?!\w)", only=_is_card)),
    ("IP", _IP),
    ("ACCOUNT", _ACCOUNT),
    ("BIRTHDATE", _BIRTH),
    ("DOCUMENT", _DOCUMENT),
    ("CUSTOMER", _CUSTOMER),
    ("ADDRESS", _ADDRESS),
    ("PHONE", _phones),
    ("SECRET", _RANDOM),
)  # fmt: skip
"""What is looked for, in this order: what one has found is not looked at by the next."""


__all__ = ["ANY_PLACEHOLDER", "KINDS", "PLACEHOLDER", "Redactor", "Unusable", "without_persons"]
