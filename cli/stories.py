"""The demo desk's people, customers and conversations: a shop for boat and workshop supplies."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from domain.permissions import Role
from domain.states import Channel, Priority
from domain.triage import Topic


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who works there."""

    key: str
    name: str
    role: Role
    teams: tuple[str, ...] = ()
    lead: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that happens, so much open time after the one before; `by` nobody: the customer."""

    kind: Literal["reply", "note", "change", "snooze", "remind"]
    after: timedelta
    by: str = ""
    text: str = ""
    status: str | None = None
    lasts: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """A ticket and what became of it. Without a team nobody has looked at it yet."""

    age: timedelta
    customer: str
    subject: str
    text: str
    channel: Channel = Channel.EMAIL
    language: str = "en"
    team: str | None = None
    agent: str | None = None
    priority: Priority | None = None
    tags: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = field(default=())


PEOPLE = (
    Person("admin", "Ines Albrecht", Role.ADMIN),
    Person("samuel", "Samuel Okoro", Role.SUPERVISOR, ("Support", "Billing", "Technical"), True),
    Person("maya", "Maya Lindqvist", Role.AGENT, ("Support", "Billing")),
    Person("tom", "Tom Becker", Role.AGENT, ("Support",)),
    Person("priya", "Priya Raman", Role.AGENT, ("Technical",)),
    Person("jonas", "Jonas Weber", Role.AGENT, ("Technical", "Billing")),
    Person("viewer", "Elena Costa", Role.VIEWER, ("Support",)),
)

TEAMS = {"Support": "round_robin", "Billing": "manual", "Technical": "round_robin"}

TOPIC_TEAMS = {
    Topic.ACCOUNT_ACCESS: "Technical",
    Topic.BILLING: "Billing",
    Topic.CANCELLATION_REFUND: "Billing",
    Topic.FEATURE_REQUEST: "Support",
    Topic.HOW_TO: "Support",
    Topic.ORDERS: "Support",
    Topic.OTHER: "Support",
    Topic.OUTAGE: "Technical",
    Topic.SALES: "Billing",
    Topic.SECURITY: "Technical",
    Topic.TECHNICAL_ISSUE: "Technical",
}

ORGANIZATIONS = {
    "Nordkai Werft": "nordkai.example",
    "Bluewater Charter": "bluewater.example",
    "Tidal Robotics": "tidal.example",
    "Museumshafen e. V.": "museumshafen.example",
}

CUSTOMERS = {
    "petra": ("Petra Hansen", "petra.hansen@nordkai.example"),
    "uwe": ("Uwe Clasen", "einkauf@nordkai.example"),
    "sofia": ("Sofia Marchetti", "sofia@bluewater.example"),
    "dan": ("Dan O'Rourke", "dan@bluewater.example"),
    "lena": ("Lena Vogt", "lena.vogt@tidal.example"),
    "ravi": ("Ravi Menon", "ravi@tidal.example"),
    "heinz": ("Heinz Petersen", "vorstand@museumshafen.example"),
    "grace": ("Grace Adeyemi", "grace.adeyemi@mail.example"),
    "paul": ("Paul Fournier", "p.fournier@mail.example"),
    "mina": ("Mina Sato", "mina.sato@mail.example"),
    "karl": ("Karl Brandt", "karl.brandt@post.example"),
    "olivia": ("Olivia Reed", "olivia.reed@mail.example"),
}


def _open(hours: float) -> timedelta:
    return timedelta(hours=hours)


def said(by: str, hours: float, text: str, status: str | None = None) -> Turn:
    return Turn("reply", _open(hours), by, text, status)


def wrote(hours: float, text: str) -> Turn:
    return Turn("reply", _open(hours), "", text)


def noted(by: str, hours: float, text: str) -> Turn:
    return Turn("note", _open(hours), by, text)


def moved(by: str, hours: float, status: str) -> Turn:
    return Turn("change", _open(hours), by, status=status)


def snoozed(by: str, hours: float, days: float) -> Turn:
    return Turn("snooze", _open(hours), by, lasts=timedelta(days=days))


def reminded(by: str, hours: float, days: float, text: str) -> Turn:
    return Turn("remind", _open(hours), by, text, lasts=timedelta(days=days))


def _ago(*, days: float = 0, hours: float = 0, minutes: float = 0) -> timedelta:
    return timedelta(days=days, hours=hours, minutes=minutes)


STORIES = (
    # Just in: the model looks at these once the desk runs.
    Story(
        _ago(minutes=4), "grace", "Where is my parcel?",
        "Hello, I ordered two life jackets nine days ago (order 40417). Tracking has said "
        "'in transit' since last Thursday and nothing moves. We sail on Saturday. Can you find it?",
    ),
    Story(
        _ago(minutes=11), "karl", "Rechnung doppelt abgebucht",
        "Guten Tag, die Rechnung über 184,90 Euro wurde zweimal von meinem Konto abgebucht. "
        "Bitte erstatten Sie mir den doppelten Betrag.",
        Channel.PORTAL, "de",
    ),
    Story(
        _ago(minutes=19), "ravi", "API answers 500 since this morning",
        "All our calls to your order API fail with error 500 since about eight o'clock. Our "
        "production line orders parts through it, so it stands still. Is there an outage?",
        Channel.API,
    ),
    Story(
        _ago(minutes=33), "mina", "Cannot sign in after changing my phone",
        "I have a new phone and the app asks for a code from the old one, which I no longer own. "
        "How do I get back into my account?",
        Channel.CHAT,
    ),
    Story(
        _ago(minutes=48), "olivia", "Please add a dark mode",
        "I do my orders at night on the boat. A dark mode would be a wonderful feature. Thanks for "
        "a shop that otherwise simply works!",
        Channel.WEB,
    ),
    Story(
        _ago(hours=1, minutes=10), "petra", "Angebot für 40 Rettungswesten",
        "Guten Morgen, wir rüsten im Frühjahr unsere Werft neu aus. Was kosten 40 Rettungswesten "
        "mit 150 N, und wie lange ist die Lieferzeit?",
        Channel.EMAIL, "de",
    ),
    # Taken, not answered.
    Story(
        _ago(hours=2), "sofia", "Wrong colour delivered",
        "The fenders are navy, we ordered white. Charter guests arrive on Friday, so we need the "
        "right ones by then.",
        team="Support", agent="maya", tags=("delivery",),
        turns=(noted("maya", 0.2, "The warehouse has white ones. Asking for an express slot."),),
    ),
    Story(
        _ago(hours=3), "dan", "Charger gets very hot",
        "The 20 A battery charger we bought in May gets so hot that I can't touch it. I unplugged "
        "it. Is that a known fault? Is it dangerous?",
        team="Technical", agent="priya", priority=Priority.URGENT, tags=("safety", "charger"),
        turns=(
            noted("priya", 0.1, "Second report about this model. @samuel do we stop selling it?"),
        ),
    ),
    Story(
        _ago(hours=5), "heinz", "Spendenquittung gesucht",
        "Sie hatten uns im letzten Jahr Farbe gespendet. Für unsere Unterlagen brauchen wir noch "
        "einen Beleg über den Wert.",
        Channel.EMAIL, "de", team="Billing", priority=Priority.LOW,
    ),
    Story(
        _ago(hours=7), "paul", "Discount code does not work",
        "The code SPRING10 from your letter is refused at the till: 'not valid for this basket'. "
        "There is only rope in my basket.",
        Channel.CHAT, team="Billing", agent="jonas",
    ),
    # Conversations under way.
    Story(
        _ago(days=1), "lena", "Webhook signatures do not match",
        "Since your change on Monday the signature header of your webhooks does not match the body "
        "any more. We use the secret from the settings page and SHA-256.",
        Channel.API, team="Technical", agent="priya", priority=Priority.HIGH, tags=("webhook",),
        turns=(
            said("priya", 1.5, "Thank you for the clear report. Do you verify the raw bytes, or "
                 "the JSON after parsing it?"),
            wrote(0.8, "The raw bytes, before anything touches them. I can record one."),
            noted("priya", 0.5, "Reproduced: a line break is added after signing. Fix in review."),
        ),
    ),
    Story(
        _ago(days=1, hours=4), "uwe", "Lieferadresse für Auftrag 40388 ändern",
        "Bitte liefern Sie den Auftrag an Tor 3 statt an die Zentrale. Der Fahrer soll sich beim "
        "Pförtner melden.",
        Channel.EMAIL, "de", team="Support", agent="tom",
        turns=(
            said("tom", 1.0, "Guten Tag Herr Clasen, die Adresse ist geändert. Gilt Tor 3 auch für "
                 "künftige Aufträge?"),
            wrote(1.2, "Ja, gern immer Tor 3. Vielen Dank!"),
        ),
    ),
    Story(
        _ago(days=2), "olivia", "How do I splice this rope?",
        "I bought the 12 mm braided line. Do you have instructions for an eye splice? The leaflet "
        "shows three-strand rope only.",
        Channel.PORTAL, team="Support", agent="maya", priority=Priority.LOW, tags=("how-to",),
        turns=(
            said("maya", 2.0, "Good choice of rope! A braided line wants a core-to-core splice. I "
                 "asked our rigger for the sheet with drawings and will send it to you."),
            reminded("maya", 0.1, 1, "Ask the rigger for the splicing sheet"),
        ),
    ),
    Story(
        _ago(days=2, hours=6), "dan", "Invoice without our VAT number",
        "Invoice 2291 lacks our VAT number, so our bookkeeper cannot use it. Please correct it.",
        team="Billing", agent="jonas", tags=("invoice",),
        turns=(
            said("jonas", 1.0, "Of course. Is it the number on file, ending in 774?"),
            wrote(3.0, "No, that was the old company. The new one ends in 913."),
            noted("jonas", 0.4, "Master data changed. A corrected invoice runs tonight."),
        ),
    ),
    Story(
        _ago(days=3), "ravi", "Bulk import drops the last row",
        "When I upload a list of 500 articles, only 499 arrive. It is always the last row that is "
        "missing, whatever is in it.",
        Channel.API, team="Technical", agent="jonas", tags=("import",),
        turns=(
            said("jonas", 2.0, "Does the file end with a line break? We may drop a last line "
                 "that has none."),
            wrote(2.0, "It does not, and with one all 500 arrive. So there is a way around. It "
                  "should still be mended."),
        ),
    ),
    Story(
        _ago(days=3, hours=5), "petra", "Zugang für neue Kollegin",
        "Ab Montag bestellt auch Frau Jessen bei Ihnen. Können Sie ihr einen Zugang mit einem "
        "Limit von 500 Euro je Bestellung einrichten?",
        Channel.EMAIL, "de", team="Technical", agent="priya",
        turns=(
            said("priya", 3.0, "Gern. An welche E-Mail-Adresse darf die Einladung gehen?"),
            wrote(4.0, "An jessen@nordkai.example bitte."),
        ),
    ),
    # Waiting for the customer.
    Story(
        _ago(days=2), "mina", "Zip of the dry bag broke",
        "After one weekend the zip of the 40 litre dry bag has come off. What can I do?",
        Channel.CHAT, team="Support", agent="tom", tags=("warranty",),
        turns=(
            said("tom", 1.0, "That should not happen. Could you send a photo of the zip and of the "
                 "label inside? Then a new one goes out today.", "pending"),
        ),
    ),
    Story(
        _ago(days=4), "paul", "Which antifouling for fresh water?",
        "I keep an aluminium boat on a lake. Which of your antifouling paints may I use?",
        Channel.PORTAL, team="Support", agent="maya",
        turns=(
            said("maya", 4.0, "For aluminium it must be free of copper. Is the hull primed, and "
                 "with what? It decides between two of them.", "pending"),
            noted("maya", 0.1, "Candidates: HS-220 with primer, HS-240 without."),
        ),
    ),
    Story(
        _ago(days=5), "karl", "Passwort lässt sich nicht zurücksetzen",
        "Der Link zum Zurücksetzen sagt immer, er sei abgelaufen. Ich klicke ihn aber sofort an.",
        Channel.WEB, "de", team="Technical", agent="priya",
        turns=(
            said("priya", 2.0, "Öffnet Ihr Mailprogramm Links vorab, um sie zu prüfen? Dann "
                 "ist der Link verbraucht. Bitte kopieren Sie ihn von Hand.", "pending"),
        ),
    ),
    Story(
        _ago(days=6), "sofia", "Lights flicker when the engine starts",
        "Your LED strips flicker each time the engine starts. Ours is a 12 V system.",
        team="Technical", agent="jonas", tags=("led",),
        turns=(
            said("jonas", 3.0, "What voltage do you measure at the strip while starting?"),
            wrote(6.0, "It falls to 9.1 V for a second."),
            said("jonas", 1.0, "That is below what the driver holds. A small stabiliser would cure "
                 "it; may I offer you one at half the price?", "pending"),
        ),
    ),
    Story(
        _ago(days=7), "grace", "Return of unused anchor",
        "I would like to return the 10 kg anchor. It is unused, I measured wrongly.",
        team="Billing", agent="maya", tags=("return",),
        turns=(
            said("maya", 2.0, "No problem at all. Here is your return label. Please tell us when "
                 "the parcel is on its way.", "pending"),
        ),
    ),
    # Waiting for somebody else.
    Story(
        _ago(days=4), "lena", "Certificate of conformity for the bilge pump",
        "For our audit we need the certificate of conformity for the BP-800 pumps, batch of March.",
        team="Technical", agent="jonas", tags=("certificate",),
        turns=(
            said("jonas", 2.0, "I have asked the maker for it; they usually take three days."),
            moved("jonas", 0.1, "on_hold"),
        ),
    ),
    Story(
        _ago(days=8), "uwe", "Teillieferung: wo bleiben die Poller?",
        "Von Auftrag 40211 fehlen noch sechs Poller. Wann kommen sie?",
        Channel.PHONE, "de", team="Support", agent="tom", priority=Priority.HIGH,
        tags=("delivery", "supplier"),
        turns=(
            said("tom", 1.0, "Die Poller hängen beim Zulieferer. Ich frage heute nach einem festen "
                 "Termin."),
            moved("tom", 0.2, "on_hold"),
            noted("tom", 6.0, "Die Gießerei nennt Ende nächster Woche."),
        ),
    ),
    # Out of sight for a while.
    Story(
        _ago(days=3), "heinz", "Farbe für die Restaurierung im Mai",
        "Im Mai streichen wir den Rumpf unseres Kutters. Können Sie uns rechtzeitig an die "
        "Bestellung von 60 Litern erinnern?",
        Channel.EMAIL, "de", team="Support", agent="maya",
        turns=(
            said("maya", 3.0, "Sehr gern, ich melde mich rechtzeitig bei Ihnen."),
            snoozed("maya", 0.1, 9),
        ),
    ),
    Story(
        _ago(days=5), "olivia", "Tell me when the blue mugs are back",
        "The enamel mugs in blue are sold out. Could you let me know when you have them again?",
        Channel.PORTAL, team="Support", agent="tom", priority=Priority.LOW,
        turns=(
            said("tom", 3.0, "They come with the next container. I will write to you then."),
            snoozed("tom", 0.1, 4),
        ),
    ),
    # Late ones: what escalation is for.
    Story(
        _ago(days=6), "paul", "Still no answer about my refund",
        "I sent the winch back three weeks ago and you have it, says the carrier. Where is my "
        "money? I find this annoying.",
        team="Billing", priority=Priority.HIGH, tags=("refund",),
    ),
    Story(
        _ago(days=9), "ravi", "Rate limit far too low for stock sync",
        "We synchronise 20,000 articles each hour and hit the limit after ten minutes. Please "
        "raise it, or tell us another way.",
        Channel.API, team="Technical", agent="priya",
        turns=(
            noted("priya", 9.0, "A nightly export would serve them better. Discuss with @samuel."),
        ),
    ),
    Story(
        _ago(days=12), "karl", "Kompass zeigt falsch an",
        "Der Steuerkompass weicht um 15 Grad ab, auch weit weg von Metall und Lautsprechern.",
        Channel.PORTAL, "de", team="Technical", agent="jonas",
        turns=(
            said("jonas", 6.0, "Bitte drehen Sie das Boot einmal im Kreis und notieren Sie die "
                 "Abweichung alle 45 Grad."),
            wrote(9.0, "Die Tabelle: N 14, NO 15, O 15, SO 16, S 15, SW 14, W 15, NW 15."),
        ),
    ),
    # Done.
    Story(
        _ago(days=2), "dan", "Thank you!",
        "The replacement mainsheet arrived in one day. Brilliant service, the whole crew says "
        "thanks.",
        Channel.CHAT, team="Support", agent="maya",
        turns=(said("maya", 0.5, "That made our morning. Fair winds!", "resolved"),),
    ),
    Story(
        _ago(days=3), "mina", "Change of e-mail address",
        "Please change my address from the old one to this one.",
        team="Technical", agent="priya",
        turns=(
            said("priya", 1.0, "To be sure that it is you: which article did you order last?"),
            wrote(0.5, "A head torch, in January."),
            said("priya", 0.3, "Thank you, your address is changed.", "resolved"),
        ),
    ),
    Story(
        _ago(days=4), "grace", "Does the tent fit two?",
        "Would two adults and a dog fit into the cockpit tent?",
        Channel.CHAT, team="Support", agent="tom",
        turns=(said("tom", 0.4, "Two adults easily, the dog with some diplomacy: it measures 2.1 "
                    "by 1.6 metres.", "resolved"),),
    ),
    Story(
        _ago(days=6), "petra", "Sicherheitsdatenblatt für Epoxidharz",
        "Wir brauchen das aktuelle Sicherheitsdatenblatt für Ihr Harz EP-40.",
        Channel.EMAIL, "de", team="Technical", agent="jonas", tags=("certificate",),
        turns=(said("jonas", 2.0, "Anbei der Link zur Fassung vom Januar. Sie liegt auch in Ihrem "
                    "Kundenkonto.", "resolved"),),
    ),
    Story(
        _ago(days=8), "lena", "Two accounts for one company",
        "Ravi and I each have a company account. Could you join them, with all past orders?",
        Channel.PORTAL, team="Technical", agent="priya",
        turns=(
            noted("priya", 2.0, "Orders 39871 to 40102 are on Ravi's account."),
            said("priya", 2.0, "Done: both of you now see all orders in one place.", "resolved"),
        ),
    ),
    Story(
        _ago(days=10), "sofia", "Monthly statement instead of single invoices",
        "Can we get one invoice a month? Forty small ones are a lot of work.",
        team="Billing", agent="jonas", tags=("invoice",),
        turns=(said("jonas", 3.0, "Yes. From the first of next month you get one statement, "
                    "payable in 14 days.", "resolved"),),
    ),
    Story(
        _ago(days=13), "uwe", "Palette beschädigt angekommen",
        "Eine Palette Farbe kam eingedrückt an, vier Eimer sind ausgelaufen. Fotos habe ich.",
        Channel.PHONE, "de", team="Support", agent="tom", priority=Priority.HIGH,
        tags=("delivery",),
        turns=(
            said("tom", 1.0, "Das tut uns leid. Vier neue Eimer gehen heute raus, die Palette holt "
                 "der Spediteur ab."),
            wrote(8.0, "Ist angekommen, alles gut. Danke für die schnelle Hilfe."),
            moved("tom", 0.5, "resolved"),
        ),
    ),
    Story(
        _ago(days=17), "karl", "Bestellung stornieren",
        "Bitte stornieren Sie die Bestellung 40020, ich habe sie doppelt abgeschickt.",
        Channel.WEB, "de", team="Billing", agent="maya", tags=("return",),
        turns=(said("maya", 0.8, "Ist storniert, es wurde nichts abgebucht.", "resolved"),),
    ),
    Story(
        _ago(days=20), "heinz", "Führung durch Ihr Lager?",
        "Unsere Jugendgruppe würde gern einmal sehen, wie so ein Lager funktioniert. Ginge das?",
        Channel.EMAIL, "de", team="Support", agent="maya", priority=Priority.LOW,
        turns=(
            said("maya", 5.0, "Was für eine schöne Idee! Freitags um zwei passt es immer."),
            wrote(7.0, "Dann kommen wir am übernächsten Freitag mit zwölf Kindern."),
            said("maya", 1.0, "Ist eingetragen, wir freuen uns.", "resolved"),
        ),
    ),
    Story(
        _ago(days=24), "olivia", "Newsletter keeps coming",
        "I have unsubscribed twice, and it still comes.",
        team="Support", agent="tom", tags=("newsletter",),
        turns=(
            said("tom", 2.0, "Sorry about that: you were on a second list. You are off both now.",
                 "resolved"),
            moved("tom", 20.0, "closed"),
        ),
    ),
    Story(
        _ago(days=27), "dan", "Login page warns about its certificate",
        "My browser says your login page is not secure. Is somebody playing tricks?",
        Channel.WEB, team="Technical", agent="priya", priority=Priority.URGENT,
        tags=("security",),
        turns=(
            said("priya", 0.3, "Thank you for asking first. Our certificate ran out at noon and "
                 "has been renewed; you can sign in safely.", "resolved"),
            moved("priya", 9.0, "closed"),
        ),
    ),
    Story(
        _ago(days=45), "paul", "Warranty of the outboard",
        "How long is the warranty of the 5 hp outboard, and does it need a yearly service?",
        team="Support", agent="maya",
        turns=(said("maya", 3.0, "Three years, with one service a year by any workshop that stamps "
                    "the booklet.", "resolved"),),
    ),
)  # fmt: skip
