from __future__ import annotations

import hashlib
import random
import re
from itertools import pairwise

import cn2an
import pytest
from num2words import num2words

from harness.core.spec import SpecError, digest, encode, read
from variants.data_numbers import LANGUAGES, Numbers, chinese, english, french

DRAW = random.Random(1)
SAMPLE = [*range(1_200), *(DRAW.randrange(10 ** DRAW.randint(3, 12)) for _ in range(2_000))]


def dataset(**settings: object) -> Numbers:
    return Numbers(read(Numbers.Config, {"source": "en", "reference": "zh"} | settings))


def singular(text: str) -> str:
    return re.sub("(cent|vingt|million|milliard)s", r"\1", text)


def test_european_words_agree_with_num2words() -> None:
    for number in [80_000, 200_000, 1_000_000, 2_000_000, 80_000_001, 10**11, *SAMPLE]:
        european_words_agree(number)


def european_words_agree(number: int) -> None:
    oracle = num2words(number).replace(",", "")
    assert english(number, british=True, hyphen=True) == oracle
    assert english(number) == oracle.replace(" and ", " ").replace("-", " ")
    oracle = num2words(number, lang="fr")
    assert french(number, hyphen=True) == oracle
    assert french(number) == oracle.replace("-", " ")
    # its Belgian French is wrong in plurals (deux cents cinquante, un millions) and in quatre-vingt et un
    oracle = singular(num2words(number, lang="fr_BE").replace("-", " ")).replace("quatre vingt et", "quatre vingt")
    assert singular(french(number, belgian=True)) == oracle


def test_chinese_agrees_with_cn2an() -> None:
    for number in [10, 110, 105_000, 10_500_000, 20_000_002, *(n for n in SAMPLE if n < 10**8)]:
        assert chinese(number) == " ".join(cn2an.an2cn(number)), number
        assert cn2an.cn2an(chinese(number, liang=True).replace(" ", ""), "normal") == number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (100_005_000, "一亿零五千"),
        (2_200_022_222, "两十二亿零二万两千两百二十二"),
        (222, "两百二十二"),
        (120_000, "十二万"),
        (20_000, "两万"),
    ],
)
def test_chinese_worked_by_hand(number: int, text: str) -> None:
    assert chinese(number, liang=True).replace(" ", "") == text.replace("两十", "二十")


@pytest.mark.parametrize("tier", LANGUAGES)
@pytest.mark.parametrize("name", ["digits", "en", "fr", "zh"])
def test_every_spelling_is_read_back(tier: str, name: str) -> None:
    language = LANGUAGES[tier][name]
    for number in SAMPLE[::7]:
        for text in language.spellings(number):
            assert language.value(text) == number, text


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("en", ["one two", "", "and", "hundred", "twenty zero", "dog", "one and five", "one billion billion"]),
        ("fr", ["un cent", "vingt un", "un mille", "cents", "deux cents un", "un millions", "quatre vingt"]),
        ("zh", ["一 十", "一 百 五 零", "一百", "两", "一 百 五", "万"]),
        ("digits", ["0 5", "12", "x", "²", "9 " * 5_000, ""]),
    ],
)
def test_what_is_not_well_formed_has_no_value(name: str, texts: list[str]) -> None:
    for text in texts:
        assert LANGUAGES["words"][name].value(text) is None, text


def test_splits_have_their_sizes_share_no_number_and_mean_it() -> None:
    part = dataset(train=900, validation=100, test=200)
    splits = part.load()
    assert {name: len(rows.source) for name, rows in splits.items()} == {"train": 900, "validation": 100, "test": 200}
    groups = [group for rows in splits.values() for group in rows.group]
    assert len(set(groups)) == 1200
    assert splits["train"].group[0] == "0"
    for rows in splits.values():
        for source, (reference,), group, *_ in rows:
            assert LANGUAGES["words"]["en"].value(source) == part.value(reference) == int(group)
    assert part.numeric
    assert part.revision() == ""


def test_digit_counts_are_even_until_the_short_ones_run_out() -> None:
    rows = dataset(train=1_500, validation=250, test=250).load()
    counts = [sum(len(group) == n for split in rows.values() for group in split.group) for n in range(1, 7)]
    assert counts[:2] == [10, 90]
    assert max(counts[2:]) - min(counts[2:]) <= 1


@pytest.mark.parametrize("split", ["length", "zeros", "compose"])
def test_the_test_holds_what_training_lacks(split: str) -> None:
    held = {
        "length": lambda n: n >= 10_000,
        "zeros": lambda n: any(a == "0" and b != "0" for a, b in pairwise(str(n))),
        "compose": lambda n: len(str(n)) > 3 and str(n)[-4] == "7",
    }[split]
    splits = dataset(split=split, train=500, validation=60, test=80).load()
    assert all(held(int(group)) for group in splits["test"].group)
    assert not any(held(int(group)) for name in ("train", "validation") for group in splits[name].group)
    assert len({group for rows in splits.values() for group in rows.group}) == 640


def test_numbers_do_not_depend_on_languages_or_noise_and_noise_keeps_values() -> None:
    sizes = {"train": 400, "validation": 50, "test": 50}
    plain, noisy = dataset(**sizes), dataset(**sizes, noise=0.5)
    first, second = plain.load(), noisy.load()
    assert all(first[name].group == second[name].group for name in first)
    assert dataset(**sizes, source="fr").load()["test"].group == first["test"].group
    assert dataset(**sizes, seed=1).load()["test"].group != first["test"].group
    changed = [a != b for a, b in zip(first["train"].source, second["train"].source, strict=True)]
    assert 0.3 < sum(changed) / 400 < 0.6
    for text, group in zip(second["train"].references, second["train"].group, strict=True):
        assert noisy.value(text[0]) == int(group)


def test_the_tier_of_digits_names_them_one_by_one() -> None:
    part = dataset(tier="digits", train=50, validation=5, test=5)
    rows = part.load()["train"]
    assert rows.group[0] == "0"
    place = rows.group.index(next(group for group in rows.group if len(group) == 3))
    assert len(rows.source[place].split()) == len(rows.references[place][0].split()) == 3
    assert part.value("一 零 五") == part.value("一 〇 五") == 105
    assert part.value("一 百") is None


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(SpecError, match="room for 10 on a side, not for 9500"):
        dataset(digits=1).load()
    assert len(dataset(digits=1, train=8, validation=1, test=1).load()["train"].source) == 8
    with pytest.raises(SpecError, match="room for"):
        dataset(split="compose", digits=4, test=1_001).load()
    with pytest.raises(SpecError, match="needs numbers of 3 digits"):
        dataset(split="zeros", digits=2)
    with pytest.raises(SpecError, match="set noise to 0"):
        dataset(source="digits", reference="digits", noise=0.5)
    with pytest.raises(SpecError, match="digits"):
        dataset(digits=13)


def test_nearly_all_long_numbers_can_be_had_without_looping() -> None:
    splits = dataset(split="compose", train=10, validation=1, test=80_000).load()
    assert len(set(splits["test"].group)) == 80_000


def test_the_same_choice_is_the_same_text_for_ever() -> None:
    rows = dataset(train=300, validation=30, test=30, noise=0.3).load()
    text = "\n".join(
        f"{s}\t{r[0]}" for split in rows.values() for s, r in zip(split.source, split.references, strict=True)
    )
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "4aa085f68d1c46ef"
    choice = dataset().cfg
    assert digest(read(Numbers.Config, encode(choice))) == digest(choice)
