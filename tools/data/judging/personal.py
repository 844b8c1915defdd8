"""Personal data in a text, by kind; the values themselves never leave this module.

Few patterns, each of them checked further, since a report that cries wolf is not read: cards and account numbers have
to pass their checksums, telephone numbers stand in the international or the North American form, and what is kept
for examples is nobody's. Not covered: names, addresses, national identity numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Reserved for examples (RFC 2606, RFC 6761), or used for them so often that they say nothing about a person.
# fmt: off
EXAMPLE_DOMAINS = frozenset((
    "example.com", "example.org", "example.net", "example.edu", "test.com", "domain.com", "email.com",
    "company.com", "yourdomain.com", "mydomain.com", "foo.com", "bar.com", "acme.com", "host.com", "website.com",
    "abc.com", "xyz.com",
))
ROLE_ACCOUNTS = frozenset((
    "git", "user", "username", "name", "email", "me", "you", "your", "someone", "noreply", "no-reply", "info",
    "support", "admin",
))
# fmt: on

# `a@b.shape` and `a@b.to(c)` are Python: a domain ends in a common ending, in lower case, and nothing is called on it.
_ENDINGS = (
    "com|org|net|edu|gov|mil|info|biz|dev|app|ai|ae|ar|at|au|be|br|ca|ch|cl|cn|co|cz|de|dk|es|eu|fi|fr|gr|hk|hu|id|ie|"
    "il|in|io|it|jp|kr|me|mx|my|nl|no|nz|ph|pl|pt|ro|ru|se|sg|th|tr|tv|tw|ua|uk|us|vn|za"
)
_DOMAIN = re.compile(rf"(?<=[\w+-])@((?:[A-Za-z0-9][A-Za-z0-9-]{{0,62}}\.){{1,4}}(?:{_ENDINGS}))(?![\w(\[@/-]|[.:]\S)")
_LOCAL = re.compile(r"[\w.+%-]{1,64}$")

# Printed in groups, as people write them: a bare run of digits is more often something else.
_INTERNATIONAL = re.compile(
    r"(?<![\w.+)\]-])\+([1-9]\d{0,2}(?:[ .-]?\(\d{1,4}\))?(?:[ .-]\d{2,8}){1,5})(?![\w-]|[.,]\d)"
)
_NATIONAL = re.compile(r"(?<![\w.+-])(?:\(([2-9]\d\d)\) ?|([2-9]\d\d)[-.])([2-9]\d\d)[-.](\d{4})(?![\w-]|[.,]\d)")
FICTION = frozenset(("555", "000", "123", "1234", "4567", "7890"))  # 555 is North America's exchange for it

# Issuer numbers and lengths of Visa, Mastercard, American Express and Discover (ISO/IEC 7812-1); a fifth group, before
# or after, makes it a row of a table.
_CARD = re.compile(
    r"(?<![\w.-])(?<!\d )"
    r"(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d)([ -]?)\d{4}\1\d{4}\1\d{4}|3[47]\d\d([ -]?)\d{6}\2\d{5})"
    r"(?![\w-]| ?\d|\.\d)"
)
_CARD_WORDS = re.compile(r"card|visa|amex|american express|mastercard|karte|carte|tarjeta", re.IGNORECASE)
# Numbers that payment services and lessons publish: they pass the checksum and belong to nobody.
# fmt: off
TEST_CARDS = frozenset((
    "4111111111111111", "4242424242424242", "4012888888881881", "4000056655665556", "5555555555554444",
    "5105105105105100", "2223003122003222", "5200828282828210", "378282246310005", "371449635398431",
    "378734493671000", "6011111111111117", "6011000990139424", "4532015112830366", "4539578763621486",
    "4716108999716531", "4556737586899855",
))
# fmt: on

# Lengths from the IBAN registry (ISO 13616), for the countries that use it most.
# fmt: off
IBAN_LENGTHS = {
    "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18,
    "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IT": 27, "LT": 20, "LU": 20, "LV": 21, "MT": 31,
    "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SE": 24, "SI": 19, "SK": 24, "TR": 26, "UA": 29, "SA": 24,
}
# fmt: on
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
# The registry's own examples, which every text about account numbers repeats.
# fmt: off
TEST_IBANS = frozenset((
    "DE89370400440532013000", "GB82WEST12345698765432", "GB29NWBK60161331926819", "GB33BUKB20201555555555",
    "FR1420041010050500013M02606", "FR7630006000011234567890189", "ES9121000418450200051332", "NL91ABNA0417164300",
    "CH9300762011623852957", "AT611904300234573201", "BE68539007547034", "IT60X0542811101000000123456",
))
# fmt: on


def personal_kinds(text: str) -> list[str]:
    """Return the kinds of personal data in a text."""
    found = {
        "e-mail address": "@" in text and any(map(_is_personal, _addresses(text))),
        "telephone number": any(_telephones(text)),
        "payment card": any(_cards(text)),
        "bank account (IBAN)": any(_accounts(text)),
    }
    return [kind for kind, there in found.items() if there]


def _addresses(text: str) -> Iterator[tuple[str, str]]:
    """Yield the two halves of each e-mail address; the first is sought backwards from its `@`, which stays linear."""
    for domain in _DOMAIN.finditer(text):
        if local := _LOCAL.search(text[max(0, domain.start() - 64) : domain.start()]):
            yield local[0].strip("."), domain[1].lower()


def _is_personal(address: tuple[str, str]) -> bool:
    local, domain = address
    is_example = any(domain == name or domain.endswith(f".{name}") for name in EXAMPLE_DOMAINS)
    return not is_example and len(local) > 1 and local.lower() not in ROLE_ACCOUNTS


def _telephones(text: str) -> Iterator[str]:
    """Yield numbers of at most 15 digits (E.164); equal groups of three would make a sum of money."""
    if "+" in text:
        for number in _INTERNATIONAL.findall(text):
            code, *groups = re.findall(r"\d+", number)
            is_long = 9 <= len(code + "".join(groups)) <= 15 and max(map(len, groups)) >= 3
            if is_long and {len(group) for group in groups} != {3} and not FICTION & {code, *groups}:
                yield number
    for groups in _NATIONAL.findall(text):
        if not FICTION & set(groups):
            yield "".join(groups)


def _cards(text: str) -> Iterator[str]:
    """Yield card numbers: in groups, or after a word that says so, since a tenth of all long numbers fit."""
    for card in _CARD.finditer(text):
        digits = re.sub(r"\D", "", card[0])
        said = len(digits) < len(card[0]) or _CARD_WORDS.search(text, max(0, card.start() - 60), card.start())
        if said and digits not in TEST_CARDS and len(set(digits)) > 4 and _passes_luhn(digits):
            yield digits


def _passes_luhn(digits: str) -> bool:
    """Check the last digit by ISO/IEC 7812-1, annex B."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0


def _accounts(text: str) -> Iterator[str]:
    for account in _IBAN.findall(text):
        iban = account.replace(" ", "")
        length = IBAN_LENGTHS.get(iban[:2], 0)
        fits = len(iban) >= length > 0 if " " in account else len(iban) == length
        if fits and iban[:length] not in TEST_IBANS and _passes_mod_97(iban[:length]):
            yield iban


def _passes_mod_97(iban: str) -> bool:
    """Check the two digits after the country by ISO 7064, MOD 97-10."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1
