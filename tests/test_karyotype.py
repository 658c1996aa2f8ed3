"""The karyotype reader: classes, flags, what counts, what is said about what cannot be read.
Karyotypes are made up, written from ISCN and the papers.
"""

import random
import re
import time

import numpy as np
import pandas as pd
import pytest
from conftest import MEASURED, study_folder

import genomed_workbench as gw
from genomed_workbench.clinic.iscn import read_iscn, read_item
from genomed_workbench.clinic.karyotype import CLASSES, COLUMNS, karyotypes, read_karyotype
from genomed_workbench.clinic.karyotype_text import split_clones, split_items

VERY_GOOD, GOOD, INTERMEDIATE, POOR, VERY_POOR = range(5)


# The class: every line of the table of Schanz et al. 2012, then the edges


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45,X,-Y[15]/46,XY[5]", VERY_GOOD),
        ("46,XX,del(11)(q14q23)[10]/46,XX[10]", VERY_GOOD),
        ("46,XX[20]", GOOD),
        ("46,XY", GOOD),
        ("46,XX,del(5)(q13q33)[9]/46,XX[11]", GOOD),
        ("46,XY,del(12)(p11.2p13)[20]", GOOD),
        ("46,XY,del(20)(q11.2q13.3)[8]/46,XY[12]", GOOD),
        ("47,XX,del(5)(q13q33),+8[9]/46,XX[11]", GOOD),
        ("46,XX,del(5)(q15q33),t(1;2)(p36;q21)[9]", GOOD),
        ("46,XY,del(7)(q22q34)[12]/46,XY[8]", INTERMEDIATE),
        ("47,XX,+8[12]", INTERMEDIATE),
        ("47,XX,+19[12]", INTERMEDIATE),
        ("46,XY,i(17)(q10)[12]", INTERMEDIATE),
        ("46,XY,t(1;2)(p36;q21)[7]", INTERMEDIATE),
        ("45,XX,-5[9]", INTERMEDIATE),
        ("47,XX,+21[3]/46,XX[17]", INTERMEDIATE),
        ("46,XX,inv(3)(p13q21)[9]", INTERMEDIATE),
        ("48,XX,+8,+19[9]", INTERMEDIATE),
        ("46,XX,inv(3)(q21q26),del(1)(p34)[5]", INTERMEDIATE),
        ("46,XX,add(3)(q26)[9]", INTERMEDIATE),
        ("45,XX,-7[15]/46,XX[5]", POOR),
        ("46,XX,inv(3)(q21q26)[20]", POOR),
        ("46,XX,t(3;3)(q21;q26)[20]", POOR),
        ("46,XX,t(2;3)(p21;q26)[20]", POOR),
        ("46,XX,del(3)(q21q25)[4]/46,XX[9]", POOR),
        ("46,XX,-7,+8[9]", POOR),
        ("46,XX,del(7)(q22),del(20)(q11)[9]", POOR),
        ("45,XX,del(5)(q13q33),-7[9]", POOR),
        ("48,XY,+8,+9,del(13)(q12q14)[9]", POOR),
        ("49,XY,+8,+9,+19,del(13)(q12q14)[9]", VERY_POOR),
        ("44,XY,-5,-7,del(12)(p13),-18,+mar[9]", VERY_POOR),
        ("46,XX,del(5)(q13q33)[9]/47,XX,+8[5]/46,XX[6]", INTERMEDIATE),
        ("45,XX,-7[9]/47,XX,+8[5]/46,XX[6]", INTERMEDIATE),
        ("45,X,-Y[9]/46,XY,del(20)(q11)[5]", INTERMEDIATE),
        ("46,XX,del(5)(q13q33)[9]/45,XX,idem,-7[5]/46,XX[6]", POOR),
        ("46,XX,del(5)(q13q33)[9]/47,XX,sl,+8[5]/48,XX,sdl1,+21[4]", POOR),
        ("49,XX,+8,+9,+21[9]/46,XX,del(7)(q22)[4]", VERY_POOR),
        ("46,XX,+1,der(1;7)(q10;p10)[14]", POOR),
        ("46,XX,der(1;7)(q10;p10),+1[14]", POOR),
        ("46,XY,+der(1;7)(q10;p10)[9]", POOR),
    ],
)
def test_the_class_of_the_papers_table(text, expected):
    found = read_karyotype(text)
    assert (
        found.cytogenetic_risk == expected
        and found.risk == CLASSES[expected]
        and found.unread == ()
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("46,XX[20]", 0),
        ("46,XX,der(7)t(1;7)(q21;q22)del(7)(p13)[5]", 1),
        ("45,XX,dic(5;17)(q13;p11)[5]", 1),
        ("46,XX,t(1;2;3)(p36;q21;q25)[5]", 1),
        ("47,XX,-7,+der(7)t(7;8)(q22;q11),+8[5]", 2),
        ("48,XX,+8,+8[5]", 1),
        ("48,XX,+2mar[5]", 2),
        ("47~49,XX,+1-3mar[cp5]", 1),
        ("48,XX,+mar1,+mar2[5]/47,XX,+mar1[5]", 2),
        ("46,XX,4~8dmin[5]", 1),
        ("46,XX,del(5)(q13q33)[4]/46,XX,del(5)(q)[3]", 1),
        ("46,XX,+1,der(1;7)(q10;p10)[14]", 2),
        ("45,XX,der(1;7)(q10;p10)[14]", 2),
        ("92,XXYY[5]/46,XY[20]", 1),
        ("46,XY,del(5)(q13q33)[11]/92,XXYY,idemx2[3]", 1),
        ("47,XX,del(20)(q11)[9]/48,XX,idem,+8[4]/47,XX,idem,+8,-del(20)(q11)[3]", 2),
        ("47,XX,+8[9]/46,XX,idem,-8[5]", 1),
        ("46,XX,t(1;2)(p36;q21)[9]/47,XX,t(1;2),+der(2)t(1;2)[5]", 2),
    ],
)
def test_abnormalities_are_counted_as_the_rules_say(text, number):
    assert read_karyotype(text).number == number


# Clonal or not


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45,XX,-7[2]/46,XX[18]", GOOD),
        ("45,XX,-7[3]/46,XX[17]", POOR),
        ("47,XX,+8[1]/46,XX[19]", GOOD),
        ("47,XX,+8[2]/46,XX[18]", INTERMEDIATE),
        ("46,XX,inv(3)(q21q26)[1]/46,XX[19]", GOOD),
        ("46,XX,inv(3)(q21q26)[2]/46,XX[18]", POOR),
        ("45,XX,-7[1]/46,XX,-7,+8[2]/46,XX[17]", POOR),
        ("45,XX,-7[cp2]/46,XX[18]", POOR),
        ("45,XX,-7/46,XX", POOR),
        ("45,XX,-7[1+2]/46,XX[17]", POOR),
        ("44~46,XX,-7[4],-8[2],+9[2][cp9]", POOR),
    ],
)
def test_a_clone_needs_two_cells_and_a_loss_three(text, expected):
    assert read_karyotype(text).cytogenetic_risk == expected


def test_what_was_seen_in_too_few_cells_is_kept_and_said():
    found = read_karyotype("45,XX,-7[2]/46,XX[18]")
    assert (
        found["normal"] == 1
        and [a.text for a in found.single_cells] == ["-7"]
        and any("too few cells" in note for note in found.notes)
    )
    assert found.table()["counts"].tolist() == [False] and found.table()["cells"].tolist() == [2]
    assert np.isnan(read_karyotype("45,XX,-7[1]").cytogenetic_risk), (
        "one abnormal cell and nothing else says nothing"
    )
    assert any("only 4 cells" in note for note in read_karyotype("46,XX[4]").notes)


# Flags


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("46,XX,del(5)(q13q33)[9]", {"del5q", "minus5_5q"}),
        ("45,XX,-5[9]", {"minus5_5q"}),
        ("45,XX,-7[9]", {"minus7", "del7_7q"}),
        ("46,XX,del(7)(q22)[9]", {"del7q", "del7_7q"}),
        ("47,XX,+8[9]", {"plus8"}),
        ("47,XX,+19[9]", {"plus19"}),
        ("46,XX,i(17)(q10)[9]", {"iso17q", "del17_17p", "abn17p"}),
        ("46,XX,i(17q)[9]", {"iso17q", "del17_17p", "abn17p"}),
        ("46,XX,idic(17)(p11.2)[9]", {"iso17q", "del17_17p", "abn17p"}),
        ("46,XX,del(17)(p13)[9]", {"del17_17p", "abn17p"}),
        ("45,XX,-17[9]", {"del17_17p", "abn17p"}),
        ("46,XX,t(1;17)(p36;p13)[9]", {"abn17p"}),
        ("46,XX,der(17)t(9;17)(q12;p11)[9]", {"del17_17p", "abn17p"}),
        ("46,XX,der(17)t(9;17)(q12;q21)[9]", set()),
        ("46,XX,del(20)(q11)[9]", {"del20q"}),
        ("45,X,-Y[9]", {"minusY"}),
        ("45,X[9]/46,XY[11]", {"minusY"}),
        ("45,X[9]/46,XX[11]", set()),
        ("46,XX,del(11)(q14)[9]", {"del11q"}),
        ("46,XX,del(12)(p13)[9]", {"del12p"}),
        ("46,XX,i(7)(p10)[9]", {"del7q", "del7_7q"}),
        ("46,XX,i(7)(q10)[9]", set()),
        ("46,XX,t(8;21)(q22;q22)[9]", {"t_8_21"}),
        ("46,XX,t(8;21)(q22;q22.1)[9]", {"t_8_21"}),
        ("46,XX,t(8;21)[9]", {"t_8_21"}),
        ("46,XX,t(8;21)(p11;q22)[9]", set()),
        ("46,XX,t(8;10;21)(q22;q24;q22)[9]", {"t_8_21"}),
        ("46,XX,inv(16)(p13.1q22)[9]", {"inv16"}),
        ("46,XX,t(16;16)(p13.1;q22)[9]", {"inv16"}),
        ("46,XX,inv(16)(p11q24)[9]", set()),
        ("46,XX,inv(16)(p11q22)[9]", set()),
        ("46,XX,t(9;22)(q34;q13)[9]", set()),
        ("46,XX,t(6;9)(p12;q34)[9]", set()),
        ("46,XX,t(15;17)(q11;q21)[9]", set()),
        ("46,XX,inv(3)(q11q26)[9]", set()),
        ("46,XX,inv(16)[9]", {"inv16"}),
        ("46,XX,t(15;17)(q24;q21)[9]", {"t_15_17"}),
        ("46,XX,t(15;17)(q22;q12)[9]", {"t_15_17"}),
        ("46,XX,t(9;11)(p21;q23)[9]", {"t_9_11"}),
        ("46,XX,t(9;11)(p21.3;q23.3)[9]", {"t_9_11"}),
        ("46,XX,t(6;11)(q27;q23)[9]", {"t_v_11"}),
        ("46,XX,t(11;19)(q23;p13.1)[9]", {"t_v_11"}),
        ("46,XX,t(4;11)[9]", {"t_v_11"}),
        ("46,XX,t(11;14)(q13;q32)[9]", set()),
        ("46,XX,t(6;9)(p23;q34)[9]", {"t_6_9"}),
        ("46,XX,t(9;22)(q34;q11.2)[9]", {"t_9_22"}),
        ("46,XX,t(8;16)(p11;p13)[9]", {"t_8_16"}),
        ("46,XX,inv(3)(q21q26.2)[9]", {"inv3"}),
        ("46,XX,t(3;3)(q21;q26.2)[9]", {"inv3"}),
        ("46,XX,inv(3)(p13q21)[9]", set()),
        ("46,XX,add(17)(p11.2)[9]", {"del17_17p", "abn17p"}),
        ("45,XX,-17,-18[9]", {"del17_17p", "abn17p", "monosomal"}),
        ("45,XX,-18,del(1)(p34)[9]", {"monosomal"}),
        ("45,X,-Y,del(1)(p34)[9]", {"minusY"}),
        ("44,X,-X,-18[9]", set()),
        ("45,XX,-18,t(8;21)(q22;q22)[9]", {"t_8_21"}),
        ("45,XX,-18,inv(16)(p13q22)[9]", {"inv16"}),
        ("46,XX,-18,+8[9]", {"plus8"}),
        ("46,XX,-7,+der(7)t(7;8)(q22;q11)[9]", {"del7q", "del7_7q"}),
        ("49,XX,+4,+6,+21[9]", {"complex", "hyperdiploid_only"}),
        ("49,XX,+4,+6,del(1)(p34)[9]", {"complex"}),
        ("47,XX,+4[9]/47,XX,+6[9]/47,XX,+9[3]", set()),
    ],
)
def test_flags(text, flags):
    found = read_karyotype(text)
    assert {name for name, value in found.flags.items() if value == 1} == flags and set(
        found.flags.values()
    ) <= {0.0, 1.0}


def test_partners_of_kmt2a_without_bands():
    for low, high in ((4, 11), (6, 11), (10, 11), (11, 19)):
        assert read_karyotype(f"46,XX,t({low};{high})[5]")["t_v_11"] == 1
    assert (
        read_karyotype("46,XX,t(9;11)[5]")["t_v_11"] == 0
        and read_karyotype("46,XX,t(9;11)[5]")["t_9_11"] == 1
    )


# As hospitals write it: another spelling, the same meaning


BASE = "45,XY,del(5)(q13q33),-7,+8,add(17)(p11.2)[12]/46,XY[8]"


@pytest.mark.parametrize(
    "text",
    [
        BASE.lower(),
        BASE.replace(",", ", "),
        BASE.replace("-", "–"),
        BASE.replace("/", " / "),
        BASE.replace("),", ") , "),
        BASE.replace("[12]", "[ 12 ]"),
        BASE.replace("[12]", "{12}"),
        BASE.replace(",-7", "-7"),
        BASE.replace("45,XY,", "45XY,"),
        BASE.replace("45,XY,", "45 XY "),
        BASE.replace("]/", "], "),
        BASE.replace("45,XY", "45;XY"),
        BASE.replace("q13q33)", "q13;q33)"),
        BASE.replace("(5)(q13q33)", "(5q)"),
        BASE.replace("del(5)(q13q33)", "5q-"),
        BASE.replace("del(5)(q13q33)", "del5q"),
        BASE.replace("(5)(q13q33)", "(5)(q13q33"),
        BASE.replace("del(5)(q13q33)", "del(5(q13q33)"),
        BASE + ".nuc ish(D7Z1x1)[90/200]",
        BASE + " FISH: del(20q) 12%",
        "Karyotype: " + BASE,
        BASE.replace("[12]", "").replace("[8]", ""),
        BASE.replace("-7", "monosomy 7"),
        BASE.replace("+8", "trisomy 8"),
        BASE.replace("45,XY,del", "45,ХУ,del"),
        "mos " + BASE,
        f"  {BASE};",
        BASE.replace("[12]/", "[12]"),
        "46,XY[8]/" + BASE.split("/")[0],
    ],
)
def test_spelling_does_not_matter(text):
    expected, found = read_karyotype(BASE), read_karyotype(text)
    assert (found.cytogenetic_risk, found.number, found.flags, found.unread) == (
        expected.cytogenetic_risk,
        expected.number,
        expected.flags,
        (),
    ) and expected.number == 4


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("5q-", "del5q"),
        ("del(5q)", "del5q"),
        ("del 5q isolated", "del5q"),
        ("isolated del(20q)", "del20q"),
        ("monosomy 7", "minus7"),
        ("Trisomie 8", "plus8"),
        ("trisomia 8", "plus8"),
        ("-Y", "minusY"),
        ("t(8;21)", "t_8_21"),
        ("i17q", "iso17q"),
        ("loss of Y", "minusY"),
        ("-7", "minus7"),
        ("7q-", "del7q"),
    ],
)
def test_an_abnormality_alone_is_read(text, flag):
    found = read_karyotype(text)
    assert found[flag] == 1 and found.number == 1 and not found.unread


@pytest.mark.parametrize(
    "text",
    [
        None,
        np.nan,
        pd.NA,
        pd.NaT,
        "",
        "  ",
        "NA",
        "n.a.",
        "failed",
        "Failure",
        "no metaphases",
        "not done",
        "Not evaluable",
        "pending",
        "unknown",
        "keine Metaphasen",
        "nicht auswertbar",
        "échec de culture",
        "assenza di metafasi",
        "non eseguito",
        "sin metafases",
        "no realizado",
        "geen metafasen",
        "niet gedaan",
        "culture failure",
        "insufficient",
    ],
)
def test_no_karyotype(text):
    found = read_karyotype(text)
    assert (
        found.risk == "unknown"
        and all(np.isnan(v) for v in found.flags.values())
        and np.isnan(found.number)
        and not found.abnormalities
        and found.unread == ()
        and "no karyotype" in found.notes[0]
    )


@pytest.mark.parametrize(
    "text",
    [
        "normal",
        "Normal male karyotype",
        "diploid",
        "unauffällig",
        "cariotipo normal",
        "caryotype normal",
        "46,XX normal",
        "normal 46,XY[20]",
        "46,XY[20] (20 metaphases)",
        "46,XX [20 metaphases]",
        "46,XX[20]; JAK2 V617F positive",
        "46,XX[20] normal female",
    ],
)
def test_normal_in_words(text):
    found = read_karyotype(text)
    assert found.risk == "good" and found["normal"] == 1 and found.unread == ()


@pytest.mark.parametrize(
    "text",
    [
        "abnormal",
        "not normal",
        "anormal",
        "no del(5q)",
        "without monosomy 7",
        "negative for del(5q)",
        "46,XX,zzz[20]",
        "see letter",
        "46,XX[20] evolution: new clone",
        "44,XX",
        "46,XY,20",
    ],
)
def test_what_cannot_be_read_is_said_and_no_class_is_given(text):
    found = read_karyotype(text)
    assert found.risk == "unknown" and found.unread and np.isnan(found["normal"])


def test_complex_in_words():
    assert (
        read_karyotype("complex karyotype")["complex"] == 1
        and read_karyotype("complex karyotype").risk == "unknown"
    )
    assert read_karyotype(">3 abnormalities").risk == "very poor"


def test_an_unread_piece_leaves_the_rest():
    found = read_karyotype("46,XX,del(5)(q13q33),qwerty[9]")
    assert (
        found.unread == ("qwerty",)
        and found.risk == "good"
        and any("qwerty" in note for note in found.notes)
    )
    odd = read_karyotype("46,XX,del(59)(q12q35)[9]")
    assert (
        odd.unread == ("del(59)(q12q35)",)
        and odd.abnormalities[0].chromosomes == ("?",)
        and odd.risk == "intermediate"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("47,XX,+21c[20]", "constitutional"),
        ("46,XX,inv(9)(p12q13)c[20]", "constitutional"),
        ("46,XX,del(5)(q13q33)[9]//46,XY[3]", "donor"),
        ("46,XX[20].nuc ish(EGR1x2)[200]", "FISH"),
        ("46,XX,del(5)(q13q33),inc[3]", "incomplete"),
        ("46,XX,inv(9)(p12q13)[20]", "often inborn"),
        ("47,XXY[20]", "taken as inborn"),
        ("46,XX,+8[9]", "the pieces make 47"),
        ("46,XX,del(5)(q31)[5]/47,XX,sdl3,+8[6]", "does not stand before"),
        ("45,X[20]", "Y was assumed"),
        ("46,XX,del(7)(q22)oradd(7)(q31)[8]", "two possibilities"),
        ("47,XX[9]", "which is gained"),
        ("46,XX,del(5)(q31)[5]/47,XX,+8[6]", "unrelated"),
    ],
)
def test_remarks(text, said):
    assert any(said in note for note in read_karyotype(text).notes)


def test_constitutional_and_harmless_findings_do_not_count():
    for text in (
        "47,XX,+21c[20]",
        "46,XX,inv(9)(p12q13)c[20]",
        "46,XX,9qh+[20]",
        "46,XX,t(2;13)(q35;q14)c[20]",
        "47,XXYc[20]",
        "46,XX,21ps+[20]",
        "47,XX,+xc[20]",
    ):
        assert read_karyotype(text)["normal"] == 1, text
    assert read_karyotype("47,XX,+21c[5]/48,XX,+8,+21c[15]").number == 1


# What does not change the meaning


def made_up_karyotypes(n: int, seed: int = 0) -> list[str]:
    "Random karyotypes in plain ISCN."
    rng = random.Random(seed)
    pieces = [
        "del(5)(q13q33)",
        "del(20)(q11.2)",
        "-7",
        "+8",
        "del(7)(q22)",
        "-17",
        "add(17)(p13)",
        "t(3;5)(q25;q34)",
        "i(17)(q10)",
        "-5",
        "+mar",
        "der(7)t(1;7)(q21;q22)",
        "inv(3)(q21q26)",
        "+21",
        "del(12)(p13)",
        "dic(5;17)(q13;p11)",
    ]
    made = []
    for _ in range(n):
        clones = [
            f"{rng.randint(43, 48)},XX,"
            + ",".join(rng.sample(pieces, rng.randint(1, 4)))
            + f"[{rng.randint(3, 20)}]"
            for _ in range(rng.randint(1, 2))
        ]
        made.append("/".join([*clones, "46,XX[5]"]))
    return made


@pytest.mark.parametrize(
    "change",
    [
        str.lower,
        lambda t: t.replace(",", " , "),
        lambda t: t + "/46,XX[3]",
        lambda t: t + ".nuc ish(TP53x1)[50/200]",
        lambda t: re.sub(r"\[\d+\]", "", t),
        lambda t: "/".join(reversed(t.split("/"))),
        lambda t: t.replace("[", "[cp"),
    ],
)
def test_changes_without_meaning(change):
    for text in made_up_karyotypes(150):
        a, b = read_karyotype(text), read_karyotype(change(text))
        assert (a.cytogenetic_risk, a.number, a.flags) == (b.cytogenetic_risk, b.number, b.flags), (
            text,
            change(text),
        )


def test_another_abnormality_never_lowers_the_number():
    for text in made_up_karyotypes(100, seed=3):
        assert (
            read_karyotype(text.replace("[", ",+10[", 1)).number == read_karyotype(text).number + 1
        )


# Anything at all


WRECKS = [
    "46,xx,del(5)(q13q33)[12]/46,xx[8]",
    "43~46,XY,-5,der(12;17)(q10;q10)ins(12;16)(q;?),+1-4mar,inc[cp5]/46,XY[2]",
    "92,xxyy,idemx2[2]",
    "47,xx,+8[3]/47,sdl2,-9[7]",
    "trisomy 8 and 5q-",
    "46,XY,t(9;11)(p21;q23)c[20]//46,xx[3]",
]
BITS = [
    *"0123456789+-()[]{}<>;:,./~?xypqc \t\n\"'*|_\\",
    "del(",
    "der(",
    "idem",
    "[cp",
    "or",
    "t(",
    "²",
    "½",
    "٣",
    "四",
    "\x00",
    "𝟝",
    "x2",
    "inc",
    "sdl99",
    "<4n>",
    "(((",
    ")))",
    "ish",
]


def wreck(rng: random.Random) -> str:
    "A karyotype with bits lost and put in, or random signs of the whole of Unicode."
    text = (
        list(rng.choice(WRECKS))
        if rng.random() < 0.8
        else [chr(rng.randrange(1, 0x11000)) for _ in range(rng.randrange(30))]
    )
    for _ in range(rng.randrange(1, 12)):
        place = rng.randrange(len(text) + 1)
        text[place : place + (rng.random() < 0.4)] = rng.choice(
            (rng.choice(BITS), chr(rng.randrange(1, 0xD7FF)), "".join(text[:place][-9:]))
        )
    return "".join(text)


def test_no_text_breaks_it():
    rng = random.Random(0)
    for _ in range(6000):
        found = read_karyotype(wreck(rng))
        assert set(found.flags) == set(COLUMNS[1:-1]) and (
            np.isnan(found.cytogenetic_risk) or found.cytogenetic_risk in range(5)
        )
        assert found.abnormalities or found.unread or found.notes or found["normal"] == 1, (
            "something is always said"
        )


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000,
        "46,xx," + "+8," * 2000,
        "/" * 5000,
        "46,xx" + "/46,xx,idem,+8" * 400,
        "1" * 6000,
        "-" * 5000,
        "46,xx,del(" + "5;" * 2000,
        "46,xx,t(" + "?" * 4000,
        7,
        46.0,
        b"46,XX",
        ["46,XX"],
        object,
    ],
)
def test_long_and_odd_things_are_soon_done(text):
    began = time.process_time()
    read_karyotype(text)
    assert time.process_time() - began < 3


def test_a_count_that_fits_is_not_blamed():
    for text in (
        "45,XX,-7[9]",
        "47,XX,+8[9]/46,XX",
        "45,XX,der(5;17)(p10;q10)[9]",
        "45,XX,dic(5;17)(q13;p11)[9]",
        "45,X,-Y[9]",
        "46,XX,-7,+mar[9]",
        "46,XX,t(1;2)(p36;q21)[9]",
        "48,XX,+2mar[9]",
        "47,XX,+der(1)t(1;2)(p36;q21)[9]",
        "46,XX,der(7)t(1;7)(q21;q22)",
    ):
        assert not read_karyotype(text).notes, text


# Columns


def test_a_column_of_karyotypes():
    series = pd.Series(
        ["46,XX[20]", None, "45,XX,-7[20]", "46,XX[20]", "junk"], index=list("vwxyz")
    )
    table = karyotypes(series)
    assert list(table.index) == list("vwxyz") and list(table.columns) == [
        *COLUMNS,
        "unread",
        "notes",
    ]
    np.testing.assert_array_equal(table["cytogenetic_risk"], [1, np.nan, 3, 1, np.nan])
    assert table.loc["z", "unread"] == "junk" and all(
        pd.api.types.is_float_dtype(table[name]) for name in COLUMNS
    )
    assert (
        karyotypes(["46,XX", None]).shape == (2, len(COLUMNS) + 2)
        and len(karyotypes(pd.Series([], dtype=object))) == 0
    )
    twice = karyotypes(pd.Series(["46,XX", "46,XY"], index=["a", "a"]))
    assert list(twice.index) == ["a", "a"]


def test_columns_are_the_dictionarys_words():
    for disease, wanted in (
        (
            "mds",
            {
                "cytogenetic_risk",
                "del5q",
                "minus7",
                "del7q",
                "del7_7q",
                "del17_17p",
                "plus8",
                "plus19",
                "iso17q",
                "del20q",
                "minusY",
                "del11q",
                "del12p",
                "inv3",
                "complex",
                "monosomal",
            },
        ),
        (
            "aml",
            {
                "t_8_21",
                "inv16",
                "t_15_17",
                "t_9_11",
                "t_v_11",
                "t_6_9",
                "t_9_22",
                "t_8_16",
                "inv3",
                "minus5_5q",
                "minus7",
                "abn17p",
                "plus8",
                "complex",
                "monosomal",
            },
        ),
    ):
        assert wanted <= set(COLUMNS)
        from genomed_workbench.clinic.dictionary import dictionary

        assert wanted <= set(dictionary(disease).names)


def test_a_hundred_thousand_texts():
    texts = pd.Series(made_up_karyotypes(3000, seed=9)).sample(
        100_000, replace=True, random_state=0
    )
    began = time.process_time()
    assert len(karyotypes(texts)) == 100_000
    assert time.process_time() - began < 10


def test_public_name():
    assert gw.read_karyotype is read_karyotype


# Parts


def test_pieces():
    assert split_clones("46,xx,del(5)(q13/q33)[3]/46,xx[4]") == [
        "46,xx,del(5)(q13/q33)[3]",
        "46,xx[4]",
    ]
    assert split_items("45,x,-y,-7.+8;del(5(q13q33),add(3)(p25)") == [
        "45",
        "x",
        "-y",
        "-7",
        "+8",
        "del(5(q13q33)",
        "add(3)(p25)",
    ]
    item = read_item("der(5;17)(p10;q10)")
    assert (
        item is not None
        and item.lost == {"5q", "17p"}
        and item.chromosomes == ("5", "17")
        and item.structural
    )
    assert read_item("+44") is None and read_item("hello") is None
    clones = read_iscn("47,XX,+8[3]/48,XX,sl,+9[4]/49,XX,sdl1,+10[5]/46,XX[2]").clones
    assert [[a.text for a in clone.abnormalities] for clone in clones] == [
        ["+8"],
        ["+8", "+9"],
        ["+8", "+9", "+10"],
        [],
    ]
    assert [clone.cells for clone in clones] == [3, 4, 5, 2]


# The released cohort


@pytest.fixture(scope="module")
def study():
    "Karyotypes of the released cohort that carry both a text and a class, with ours beside."
    folder = study_folder()
    if folder is None:
        pytest.skip(
            "the folder ipssm-study is absent: get it from github.com/papaemmelab/IPSSMstudy and set GENOMED_DATA"
        )
    data = pd.read_csv(folder / "ipssm-study" / "df_clinical.tsv", sep="\t").set_index("ID")
    data["released"] = data["CYTO_IPSSR"].map(
        {"Very-Good": 0, "Good": 1, "Int": 2, "Poor": 3, "Very-Poor": 4}
    )
    data = data[data["CYTOGENETICS"].notna() & data["released"].notna()]
    cna = (
        pd.read_csv(folder / "ipssm-study" / "df_cna.tsv", sep="\t")
        .set_index("ID")
        .reindex(data.index)
    )
    return data, karyotypes(data["CYTOGENETICS"]), cna


def plainly_normal(texts: pd.Series) -> pd.Series:
    "Texts of nothing but 46,XX and 46,XY clones."
    return texts.str.fullmatch(r"46,x[xy](\[[\d+]+\])?(/46,x[xy](\[[\d+]+\])?)*")


def test_the_class_agrees_with_the_released_one(study):
    data, table, _ = study
    agree, abnormal = (
        table["cytogenetic_risk"] == data["released"],
        ~plainly_normal(data["CYTOGENETICS"]),
    )
    MEASURED["karyotype class, disagreement, all"] = 1 - agree.mean()
    MEASURED["karyotype class, disagreement, abnormal texts"] = 1 - agree[abnormal].mean()
    assert len(data) == 2582 and agree.mean() >= 0.96
    assert agree[abnormal].mean() >= 0.92 and agree[table["normal"] != 1].mean() >= 0.92, (
        "abnormal by the text, and abnormal by the reader"
    )


def cause(text: str, ours: float, released: float) -> str:
    "Why two classes differ, told from the reading alone."
    k = read_karyotype(text)
    said = " ".join(k.notes)
    rules = (
        ("'complex' in words: three or more, the text does not say", "'complex' says" in said),
        ("a piece cannot be read", bool(k.unread)),
        (
            "3q: poor by the paper, intermediate in the release",
            ours == 3
            and released == 2
            and k.number == 1
            and any("3q" in a.broken for a in k.abnormalities),
        ),
        ("seen in too few cells", bool(k.single_cells)),
        ("marked as constitutional, counted in the release", "constitutional" in said),
        ("karyotype marked incomplete", "incomplete" in said),
        (
            "unbalanced 1;7 other than the whole-arm fusion",
            any(
                {"1", "7"} <= {*a.chromosomes, *(c for p in a.inner for c in p.chromosomes)}
                for a in k.abnormalities
            ),
        ),
        ("markers and double minutes", any(a.kind in ("mar", "dmin") for a in k.abnormalities)),
        ("derivatives: what counts as one", any(a.kind in ("der", "dic") for a in k.abnormalities)),
        ("arm not written", any(a.kind == "del" and not a.lost for a in k.abnormalities)),
    )
    return next(
        (name for name, holds in rules if holds),
        "count or class of the release not to be had from the text",
    )


def test_disagreements_have_causes(study):
    data, table, _ = study
    apart = table["cytogenetic_risk"] != data["released"]
    causes = pd.Series(
        [
            cause(*row)
            for row in zip(
                data.loc[apart, "CYTOGENETICS"],
                table.loc[apart, "cytogenetic_risk"],
                data.loc[apart, "released"],
            )
        ]
    ).value_counts()
    MEASURED.update(
        {
            f"karyotype class differs, patients: {name}": float(number)
            for name, number in causes.items()
        }
    )
    assert causes.sum() == apart.sum() and causes.iloc[-1] >= 1
    assert (
        causes.get("count or class of the release not to be had from the text", 0)
        <= 0.35 * apart.sum()
    )


@pytest.mark.parametrize(
    ("flag", "column", "least"),
    [
        ("del5q", "del5q", 0.97),
        ("minus7", "del7", 0.97),
        ("del7q", "del7q", 0.97),
        ("plus8", "plus8", 0.985),
        ("plus19", "plus19", 0.99),
        ("iso17q", "iso17q", 0.99),
        ("del20q", "del20q", 0.97),
        ("minusY", "delY", 0.99),
        ("del11q", "del11q", 0.98),
        ("del12p", "del12p", 0.97),
    ],
)
def test_flags_agree_with_the_released_ones(study, flag, column, least):
    "The released flags add what sequencing saw; a flag of ours that they lack is rare."
    data, table, cna = study
    known = table[flag].notna() & cna[column].notna()
    ours, theirs = table.loc[known, flag] == 1, cna.loc[known, column] == 1
    assert (ours == theirs).mean() >= least and (ours & ~theirs).sum() <= max(3, 0.3 * ours.sum())


def test_complex_agrees_with_the_released_one(study):
    data, table, _ = study
    known = table["complex"].notna()
    assert ((data["complex"] == "complex") == (table["complex"] == 1))[known].mean() >= 0.985


def test_every_karyotype_of_the_study_is_read(study):
    data, table, _ = study
    assert (table["unread"] != "").mean() <= 0.02 and table[
        "cytogenetic_risk"
    ].isna().mean() <= 0.01


def is_plain(text: str) -> bool:
    """ISCN of the simplest kind, by a grammar of its own: each clone with its count, sex chromosomes and cells,
    whole chromosomes and the commonest rearrangements; the count fits, three cells a clone, ten in all.
    """
    clones = text.replace(" ", "").lower().split("/")
    cells = 0
    for clone in clones:
        found = re.fullmatch(
            r"(\d\d),x([xy])((?:,[+-](?:[1-9]|1\d|2[0-2])|,(?:del|inv|add|i)\(\d+\)\([pq][\dpq.]*\)"
            r"|,t\(\d+;\d+\)\([pq][\d.]+;[pq][\d.]+\))*)\[(\d+)\]",
            clone,
        )
        if not found or int(found[4]) < 3:
            return False
        items = found[3].split(",")
        change = sum({"+": 1, "-": -1}.get(one[:1], 0) for one in items)
        if int(found[1]) != 46 + change:
            return False
        cells += int(found[4])
    return cells >= 10


def test_no_plain_karyotype_of_the_study_is_doubted(study):
    texts = [text for text in study[0]["CYTOGENETICS"].unique() if is_plain(text)]
    assert len(texts) > 250
    for text in texts:
        found = read_karyotype(text)
        assert found.doubts == () and found.risk_range == (found.cytogenetic_risk,) * 2, text


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("kein normaler Karyotyp", "normal"),
        ("pas de caryotype normal", "normal"),
        ("keine normale Metaphase", "normal"),
        ("fehlender Nachweis einer Monosomie 7", "minus7"),
        ("del(5q): yes; -7: no", "minus7"),
        ("t(3;5)", "inv3"),
        ("46,XX,der(3)t(1;3)[20]", "inv3"),
        ("no del(5q), -7 present", "del5q"),
    ],
)
def test_what_is_denied_or_not_written_is_not_found(text, flag):
    assert read_karyotype(text)[flag] != 1


def test_changes_in_single_cells_leave_the_worst_of_their_readings_open():
    "By hand: -7 alone would be poor, +8 alone intermediate, both as unrelated clones intermediate."
    assert read_karyotype("45,XX,-7[1]/47,XX,+8[1]/46,XX[18]").risk_range == (GOOD, POOR)
    unsure = read_karyotype("46,XX,inc[10]")
    assert unsure.risk_range == (GOOD, VERY_POOR) and "normal" in unsure.open_flags
