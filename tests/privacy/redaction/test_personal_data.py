"""Detectors of mail addresses, phones, cards, IBANs and IP addresses: what they find, and what they leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.privacy.redaction.detection import find, normalised
from app.privacy.redaction.detectors.cards import is_card
from app.privacy.redaction.detectors.ibans import is_iban


def values(text: str, kind: str) -> list[str]:
    return [text[span.start : span.end] for span in find(text, frozenset({kind}))]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Write to anna.meier+news@mail.example.co.uk, please.", "anna.meier+news@mail.example.co.uk"),
        ("Ada <ada@acme.io>", "ada@acme.io"),
        ("jörg@uni-münchen.de!", "jörg@uni-münchen.de"),
        ("иван@корпорация.рф.", "иван@корпорация.рф"),
        ("用户@例子.广告", "用户@例子.广告"),
        ("ada@xn--mnchen-3ya.xn--p1ai", "ada@xn--mnchen-3ya.xn--p1ai"),
        ("请发邮件到ada@acme.io谢谢", "ada@acme.io"),
        ("[mail](mailto:ada@acme.io)", "ada@acme.io"),
        ("ada (at) acme (dot) io!", "ada (at) acme (dot) io"),
        ("write to ada.l [at] acme.io now", "ada.l [at] acme.io"),
        ("ada at mail dot acme dot io", "ada at mail dot acme dot io"),
        ("ada＠acme.io", "ada＠acme.io"),
        ("o'brien_7@acme.travel", "o'brien_7@acme.travel"),
    ],
)
def test_a_mail_address_is_found_without_the_words_around_it(text: str, address: str) -> None:
    assert values(text, "email") == [address]


@pytest.mark.parametrize(
    "text",
    [
        "Thanks @anna!", "@anna@mastodon.social", "logo@2x.png", "npm install react@18.2.0",
        "git@github.com:acme/app.git", "a @ b.com", "X@np.linalg.inv(Y)", "https://anna:pw@acme.io/x",
        "ssh://git@acme.io/x", "a@b", "app@latest.tgz", "look at me. dot",
        "x" * 65 + "@acme.io",
    ],
)  # fmt: skip
def test_handles_files_and_users_of_urls_are_no_mail_addresses(text: str) -> None:
    assert values(text, "email") == []


@pytest.mark.parametrize(
    "number",
    [
        "+49 (0)30 1234567", "+4915123456789", "0049 221 4567890", "+1 (415) 555-2671", "+1-212-555-0123",
        "+33 6 12 34 56 78", "+44 20 7946 0018", "+91 98765 43210", "+86 138 1234 5678", "(415) 555-2671",
        "415-555-2671", "1-800-201-7575", "030 1234567", "030/12345678", "(089) 123456 78", "0171-1234567",
        "06 12 34 56 78", "01.42.68.53.00", "07700 900123", "03-1234-5678", "8 (916) 123-45-67", "(11) 91234-5678",
        "07700900123", "415-555-2671 x123",
    ],
)  # fmt: skip
def test_a_phone_in_international_or_unmistakable_national_form_is_found(number: str) -> None:
    assert values(f"Ada Lovelace, {number}, London", "phone") == [number]
    assert values(f"打{number}吧", "phone") == [number]


@pytest.mark.parametrize(
    "text",
    ["Call me at {}", "Telefon: {}", "tél. {}", "Mi móvil es {}", "телефон {}", "手机:{}", "Phone:\n{}", "📞 {}"],
)
@pytest.mark.parametrize("number", ["601 549 475", "5551234567", "13812345678", "55-12-34-56"])
def test_other_digits_are_a_phone_after_a_word_that_says_so(text: str, number: str) -> None:
    assert values(text.format(number), "phone") == [number]
    assert values(f"We sold {number} of them", "phone") == []


@pytest.mark.parametrize(
    "text",
    [
        "order 0001234567", "ticket #4155552671", "on 01.02.2024 12:30", "2024-05-06 07:08:09",
        "1713047139 and 1713047139000", "ISBN 978-3-16-148410-0", "ISBN 0306406152", "v10.2.33.4", "192.168.100.101",
        "$1,234,567.89", "1.500.000 people", "call 18 000 000 km", "phone models 2023-2024", "48.858370, 2.294481",
        "550e8400-e29b-41d4-a716-446655440000", "+123", "x+4915123456789", "1 2 3 4 5 6 7 8 9", "078-05-1120",
        "Nature 521, 436-444 (2015)", "0.0123456789", "+999 12345678", "1-800-FLOWERS", "phone 0123456789",
        "x + 907133923", "+35236450.6",
    ],
)  # fmt: skip
def test_dates_orders_versions_prices_and_other_numbers_are_no_phones(text: str) -> None:
    assert values(text, "phone") == []


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "3782 822463 10005", "6011 0009 9013 9424",
        "41.11.11.11.11.11.11.11", "3566002020360505", "2223 0031 2200 3222", "4111\u00a01111\u00a01111\u00a01111",
    ],
)  # fmt: skip
def test_a_card_number_is_found_in_the_usual_groups(number: str) -> None:
    assert values(f"1234 {number} 12/29", "card") == [number]
    assert values(f"卡号{number}。", "card") == [number]


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112", "4111 1111 1111 1112", "4111 1111-1111 1111", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "0.4111111111111111", "a4111111111111111", "4111111111111111b", "9111111111111111", "0000 0000 0000 0000",
        "41111111111111112222",
    ],
)  # fmt: skip
def test_other_digits_and_wrong_check_digits_are_no_card(text: str) -> None:
    assert values(text, "card") == []


def test_a_rare_issuer_needs_groups_or_a_word_for_a_card() -> None:
    assert values("id 30569309025904", "card") == []
    assert values("id 3056 930902 5904", "card") == ["3056 930902 5904"]
    assert values("my Diners card: 30569309025904", "card") == ["30569309025904"]


@given(st.integers(10**14, 10**18 - 1).map(str))
def test_after_its_name_one_of_ten_last_digits_makes_a_card(digits: str) -> None:
    fitting = [last for last in "0123456789" if is_card(digits + last, named=True, grouped=False)]

    assert len(fitting) == 1 or len(set(digits)) == 1


@pytest.mark.parametrize(
    "number",
    [
        "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "gb82 west 1234 5698 7654 32", "NO93 8601 1117 947",
        "FR14-2004-1010-0505-0001-3M02-606", "MT84MALT011000012345MTLCAST001S",
        "CH93\u00a00076\u00a02011\u00a06238\u00a05295\u00a07",
    ],
)  # fmt: skip
def test_an_iban_is_found_in_any_spelling(number: str) -> None:
    assert values(f"to {number} and more", "iban") == [number]
    assert values(f"转到{number}吧", "iban") == [number]


@pytest.mark.parametrize(
    "text",
    [
        "DE89370400440532013001", "DE8937040044053201300", "DE893704004405320130000", "ZZ89370400440532013000",
        "XDE89370400440532013000", "DE89 3704  0044 0532 0130 00", "DE89", "",
    ],
)  # fmt: skip
def test_wrong_lengths_countries_and_check_digits_are_no_iban(text: str) -> None:
    assert values(text, "iban") == []


@given(st.integers(4, 21), st.sampled_from("0123456789"))
def test_one_changed_digit_is_noticed_in_an_iban(place: int, digit: str) -> None:
    right = "DE89370400440532013000"
    changed = right[:place] + digit + right[place + 1 :]

    assert is_iban(changed) == (changed == right)


@pytest.mark.parametrize(
    "address", ["91.198.174.192", "8.8.8.123", "2a02:908:e842:4d00:15b1:7c9:2b5:1", "2001:4860::8888"]
)
def test_a_public_ip_address_is_found(address: str) -> None:
    assert values(f"from {address}, twice", "ip_address") == [address]


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.0.0.255", "192.168.178.100", "192.0.2.200", "version 120.1.2.3.4", "Chrome/120.0.0.0",
        "1.2.3.4", "300.1.1.1", "::1", "fe80::1", "2001:db8::1", "std::vector::begin", "12:34:56", "2a02::xyz",
    ],
)  # fmt: skip
def test_private_and_reserved_addresses_and_versions_are_no_ip_addresses(text: str) -> None:
    assert values(text, "ip_address") == []


@pytest.mark.parametrize(
    ("kind", "one", "another"),
    [
        ("email", "Anna@Acme.IO", "anna@acme.io"),
        ("email", "Ada (at) mail [dot] acme.io", "ada@mail.acme.io"),
        ("email", "ada AT acme DOT io", "ada＠acme.io"),
        ("phone", "+49 (30) 123", "004930123"),
        ("phone", "+49 (0)30 1234-567", "+49301234567"),
        ("card", "4111 1111-1111 1111", "4111111111111111"),
        ("iban", "DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("ip_address", "2A02:0908::0001", "2a02:908::1"),
        ("person", "Ada  Lovelace", "ada lovelace"),
    ],
)
def test_spellings_of_the_same_value_are_equal_once_normalised(kind: str, one: str, another: str) -> None:
    assert normalised(kind, one) == normalised(kind, another)
