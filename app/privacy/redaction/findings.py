"""Spans of a text that detectors return, each with the kind of what it holds. Pure."""

from typing import NamedTuple

#: Kinds that are recognised here, by structure and checksum. Where spans overlap, the earlier kind names the union.
BUILT_IN_KINDS = (
    "private_key", "jwt", "api_key", "url_credentials", "token", "password",
    "email", "iban", "card", "phone", "ip_address",
)  # fmt: skip
#: Kinds that Presidio recognises, its own names in lower case.
PRESIDIO_KINDS = (
    "person", "location", "organization", "nrp", "date_time", "mac_address", "crypto", "medical_license",
    "us_ssn", "us_itin", "us_passport", "us_driver_license", "us_bank_number", "uk_nhs", "es_nif", "es_nie",
    "it_fiscal_code", "it_vat_code", "it_passport", "it_identity_card", "it_driver_license", "pl_pesel",
)  # fmt: skip
KINDS = BUILT_IN_KINDS + PRESIDIO_KINDS


class DetectedSpan(NamedTuple):
    """The characters of a text from `start` up to but not including `end`, which hold a value of a kind of `KINDS`."""

    kind: str
    start: int
    end: int
