"""Words that are in any request whatever it is about: greetings, thanks, asking for help."""

from typing import Final

_WORDS = """
    about above after again against all almost along already also although always among any
    anybody anyone anything anyway around away back because become been before behind being below
    beside besides between both came cannot certain come comes couldn couldn't currently did didn
    didn't does doesn doesn't doing don done during each either else enough especially even ever
    every everybody everyone everything few first following further gave generally getting give
    given gives going gone got had hadn has hasn having haven her here herself him himself his how
    however i'd i'll i've if instead into isn isn't its itself just keep kept kind know known last
    least less let lets like likely little long lot made make makes many may maybe me might mine
    more most mostly much must myself near nearly neither never next nobody none nor nothing now
    often once one only onto other others otherwise ought out over own per perhaps quite rather
    really recently said same say says see seem seems seen several shall she should shouldn since
    some somebody someone something sometimes somewhere soon still such sure take taken takes than
    that's their theirs them themselves then these thing things think this those though through
    thus till together too took toward towards tried try trying two under unless until upon used
    using usually various very via want wanted wants was wasn way well went were weren whatever
    whenever whether which while whole whom whose within without won won't would wouldn yes yet
    you'd you'll you're you've yours yourself yourselves

    able advance advise appreciate appreciated assist assistance ask asking best better bye cheers
    concern concerning day dear faithfully folks forward friendly gentlemen glad good goodbye
    grateful great greeting greetings guys happy hear hearing hello help helpful helping hey hope
    hoping hi inquiry issue issues kindly ladies look looking madam matter necessary need needed
    please pleased problem problems quick quickly question questions regard regarding regards
    request sincerely sir sorry support team thank thanks truly unfortunately welcome wish wishes
    wonder wondering write writing

    aber alle allem allen aller allerdings alles ander andere anderen anderer anderes anders auch
    auf ausserdem außerdem ausser außer bereits beim besonders bevor bin bis bisher bist bloss
    bloß da dabei dadurch dafür dagegen daher dahin damals damit danach daneben dann daran darauf
    daraus darf darin darum darunter darüber dass davon davor dazu deine deinem deinen deiner
    denen denn dennoch deren derer derselbe derzeit deshalb dessen deswegen dich dies diese diesem
    diesen dieser dieses dir dort drei du durch dürfen eben ebenfalls ebenso eher ehrlich
    eigentlich einem einer eines einfach einige einigen einiger einiges einmal endlich entweder
    erst erstmal etwa etwas euch euer eure eurem euren falls fast ferner folgend folgende
    folgendem folgenden folgender folgendes frau gab ganz ganze ganzen gar geben geht gegen gehen
    gemacht genau genug gerade gerne gern gesehen gewesen gibt gleich habt hatte hatten hier
    hierbei hiermit hin hinter hätte hätten ihm ihn ihnen ihrem ihren ihrer ihres immer indem
    inzwischen irgend irgendwie ja jede jedem jeden jeder jedes jedoch jemand jene jetzt jeweils
    keinem keiner keines kommen kommt konnte konnten könnte könnten könntet kürzlich lassen leider
    lange machen macht man manche manchmal mehrere mein meinem meinen meiner meines mich muss
    musste müssen müsste möchte möchten mögen nachdem nahezu natürlich neben nein nie niemand
    nichts noch nochmal nochmals nun ob obwohl oft ohne paar plötzlich recht schnell sehen sehr
    sei sein seine seinem seinen seiner seit seitdem selbst sich sicher sobald sodass sogar solche
    solchem solchen solcher soll sollen sollte sollten somit sondern sonst soweit sowie sowohl
    statt tun trotz trotzdem unsere unserem unseren unserer unter usw über überhaupt versucht
    versuche viel viele vielen vielleicht vielmals vom vor vorher weder wegen weil weiter weitere
    weiteren welche welchem welchen welcher welches wenig wenige wenigstens wer weshalb wessen
    wieder wieso will wir wirklich wobei wohl wollen wollte wollten worden wurde wurden während
    würde würden ziemlich zuerst zuletzt zunächst zurück zusammen zwar zwei zwischen

    anfrage anliegen beste besten betreff bezüglich bitten brauche brauchen damen danke dank
    dankbar dankeschön freue freuen freundliche freundlichen frage fragen gruss gruß grüsse grüße
    grüßen guten gute hallo helfen herr herren herzlich herzliche herzlichen hilfe hilft hoffe
    liebe lieben lieber liebes mfg moin probleme schöne schönen geehrte geehrter geehrten geehrtes
    schreibe schreiben servus tag tage unterstützung verbleibe voraus weiterhelfen wende wenden
    wäre wünsche
"""
FILLERS: Final = frozenset(_WORDS.split())
"""English and German, beside the small words by which languages are told. What may name a fault
is not among them ("down", "off", "error", "work"), nor what somebody may look for."""

OF_MAIL: Final = frozenset(
    """
    contact kontakt customer kunde kundin information inform message nachricht ticket reply
    response respond antwort send care night week weekend wochenende mitarbeiter today tomorrow
    yesterday heute morgen morning evening afternoon abend mittag urgent urgently dringend
    immediately sofort meldung melden rückmeldung
    """.split()  # noqa: SIM905 - a list of words reads better without quotes
)
"""What is in many a request of one hour and names no fault, though an article may be about it."""

__all__ = ["FILLERS", "OF_MAIL"]
