"""`holdfast triage`: files in, measures out, no server anywhere."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app

pytestmark = pytest.mark.slow  # models are trained

TRAIN = "text,label\n" + "".join(
    f"{text} {number},{label}\n"
    for number in range(8)
    for text, label in (
        ("where is my parcel", "delivery"),
        ("give me my money back", "refund"),
        ("I cannot log in", "login"),
    )
)
TEST = "text,label\nmy parcel is late,delivery\nmoney back please,refund\nlog in fails,login\n"
MEASURES = {
    "accuracy",
    "macro_f1",
    "ece",
    "acc_at_80",
    "acc_at_90",
    "train_seconds",
    "single_p50_ms",
    "batch_per_s",
}


def evaluated(folder: Path, train: str | bytes, test: str | bytes, *options: str) -> Result:
    for name, content in (("train.csv", train), ("test.csv", test)):
        binary = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(binary)
    files = ["--train", str(folder / "train.csv"), "--test", str(folder / "test.csv")]
    return CliRunner().invoke(app, ["triage", "evaluate", *files, *options])


def told(result: Result) -> dict[str, float]:
    assert result.exit_code == 0, result.output
    answer: dict[str, float] = json.loads(result.stdout)
    return answer


def test_measures_are_one_json_object(tmp_path: Path) -> None:
    answer = told(evaluated(tmp_path, TRAIN, TEST))
    assert set(answer) == MEASURES
    assert answer["accuracy"] == answer["macro_f1"] == 1.0


def test_strange_texts_are_told_from_the_desks_own(tmp_path: Path) -> None:
    strange = tmp_path / "strange.csv"
    strange.write_text("text\nquantum baryons\nhow tall was Napoleon\n", "utf-8")
    answer = told(evaluated(tmp_path, TRAIN, TEST, "--out-of-scope", str(strange)))
    assert answer["oos_auroc"] > 0.9


def test_several_columns_are_subject_and_body(tmp_path: Path) -> None:
    train = TRAIN.replace("text,label", "body,queue,title").replace("\n", ",Re: help\n")
    train = train.replace("body,queue,title,Re: help", "body,queue,title")
    test = "title,body,queue\nhelp,my parcel is late,delivery\n"
    answer = told(evaluated(tmp_path, train, test, "--text", "title,body", "--label", "queue"))
    assert answer["accuracy"] == 1.0


@pytest.mark.parametrize(
    "test",
    [
        b"\xef\xbb\xbf" + TEST.encode(),
        TEST.replace("\n", "\r\n"),
        TEST.replace(",", ";"),
        TEST.replace(",", "\t"),
        TEST.encode("utf-16"),
        TEST.replace("late", "l\u00e4te").encode("cp1252"),
        'text,label\n"my parcel\nis ""late"", really",delivery\n',
        TEST + ",delivery\n",
        TEST + "no label at all,\n",
        TEST + "short row\n",
        TEST + "a,b,c,d,e\n",
        TEST + "something,never taught\n",
        TEST + f'"{"x" * 300_000}",login\n',
        TEST + "\x00\x01\u202e,login\n",
        TEST.replace(",", "|"),
        TEST.replace("text,label", " Text , LABEL "),
        "\n\n" + TEST.replace("\n", "\n\n"),
        TEST.replace("\n", "\r"),
        "text,label,text\n" + TEST.split("\n", 1)[1].replace("\n", ",parcel\n"),
    ],
    ids=[
        "BOM",
        "CRLF",
        "semicolons",
        "tabs",
        "UTF-16",
        "Windows",
        "quoted line break",
        "empty text",
        "empty label",
        "short row",
        "long row",
        "unseen label",
        "huge cell",
        "control characters",
        "bars",
        "names in other letters",
        "blank lines",
        "CR",
        "a column twice",
    ],
)
def test_files_come_in_many_shapes(tmp_path: Path, test: str | bytes) -> None:
    assert told(evaluated(tmp_path, TRAIN, test))["accuracy"] >= 0.5


@pytest.mark.parametrize(
    ("train", "options", "complaint"),
    [
        (TRAIN, ("--text", "body"), "has no column 'body'. The columns are: text, label."),
        (TRAIN, ("--label", "queue"), "has no column 'queue'. The columns are: text, label."),
        (TRAIN, ("--text", "text,subject"), "has no column 'subject'."),
        ("", (), "is empty; its first line should name the columns."),
        ("text,label\n", (), "has no row with a label."),
        ("text,label\na,x\nb,x\n", (), "There is nothing to tell apart: 1 label"),
        ("text,label\n,x\n,y\n", (), "None of the rows has a text"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_sentence(
    tmp_path: Path, train: str, options: tuple[str, ...], complaint: str
) -> None:
    result = evaluated(tmp_path, train, TEST, *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert complaint in " ".join(result.stderr.split())


def test_labels_that_were_never_taught_are_told(tmp_path: Path) -> None:
    result = evaluated(tmp_path, TRAIN, TEST + "something,else\nand more,other\n")
    assert told(result)["accuracy"] == pytest.approx(0.6)
    assert "2 rows with a label that" in " ".join(result.stderr.split())


def test_what_is_no_text_is_refused_with_a_sentence(tmp_path: Path) -> None:
    for content in (bytes(range(256)), TRAIN.encode("utf-16-le")):
        result = evaluated(tmp_path, content, TEST)
        assert result.exit_code == 2
        assert "is not text" in " ".join(result.stderr.split())


def test_a_delimiter_within_quotes_is_part_of_a_name(tmp_path: Path) -> None:
    train, test = (
        each.replace(",", ";").replace("text;", '"text, as, written";') for each in (TRAIN, TEST)
    )
    assert told(evaluated(tmp_path, train, test, "--text", "text, as, written"))["accuracy"] == 1


def retrieved(folder: Path, documents: str, queries: str) -> Result:
    (folder / "d.jsonl").write_text(documents, "utf-8")
    (folder / "q.jsonl").write_text(queries, "utf-8")
    files = ["--documents", str(folder / "d.jsonl"), "--queries", str(folder / "q.jsonl")]
    return CliRunner().invoke(app, ["triage", "retrieve", *files])


DOCUMENTS = (
    '{"id": 1, "text": "how to get a refund"}\n'
    '{"id": "two", "text": "track a parcel"}\n'
    '{"id": 3, "text": ""}\n'
)


def test_what_is_found_first_and_near_is_counted(tmp_path: Path) -> None:
    queries = (
        '{"text": "refund please", "relevant": [1]}\n\n'
        '{"text": "my parcel", "relevant": ["two", "3"]}\n'
        '{"text": "parcel", "relevant": [1]}\n'
        '{"text": "nothing", "relevant": []}\n'
    )
    answer = told(retrieved(tmp_path, DOCUMENTS, queries))
    assert answer["queries"] == 3
    assert answer["hit@1"] == pytest.approx(2 / 3, abs=1e-3)
    assert 0 < answer["ndcg@10"] < 1


def test_documents_of_one_id_are_found_as_one_and_what_is_not_there_is_not(tmp_path: Path) -> None:
    documents = DOCUMENTS + '{"id": "1", "text": "refund and money back"}\n'
    queries = (
        '{"text": "refund", "relevant": [1]}\n{"text": "refund", "relevant": ["gone"]}\n'
        '{"text": "", "relevant": [1]}\n'
    )
    result = retrieved(tmp_path, documents, queries)
    answer = told(result)
    assert answer["hit@1"] == answer["ndcg@10"] == pytest.approx(1 / 3, abs=1e-3)
    said = " ".join(result.stderr.split())
    assert "1 document with the id of another" in said
    assert "1 relevant id of no document" in said


@pytest.mark.parametrize(
    ("documents", "queries", "complaint"),
    [
        ("", "", "holds no document"),
        ('{"id": 1}\n', "", "line 1: text: Field required"),
        ("{oops\n", "", "line 1: it is not JSON"),
        (DOCUMENTS, '{"text": "x"}', "line 1: relevant: Field required"),
        (DOCUMENTS, '{"text": "x", "relevant": []}', "no query with something relevant"),
    ],
)
def test_a_line_that_is_not_what_was_said_is_named(
    tmp_path: Path, documents: str, queries: str, complaint: str
) -> None:
    result = retrieved(tmp_path, documents, queries)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())
