"""What detectors return: spans of a text, each with the kind of what it holds. Pure."""

from typing import NamedTuple

#: Kinds that are recognised here, by structure and checksum. Where spans overlap, the earlier kind names the union.
BUILT_IN_KINDS = (
    "private_key", "jwt", "api_key", "url_credentials", "token", "password", "email", "iban", "card", "phone", "ip_address",
)  # fmt: skip
#: Kinds that Presidio recognises, its own names in lower case. The first five need a language model.
PRESIDIO_KINDS = (
    "person", "location", "organization", "nrp", "date_time",
    "crypto", "medical_license", "us_ssn", "us_itin", "us_passport", "us_driver_license", "us_bank_number", "uk_nhs",
    "uk_nino", "es_nif", "es_nie", "it_fiscal_code", "it_vat_code", "it_passport", "it_identity_card",
    "it_driver_license", "pl_pesel", "fi_personal_identity_code", "sg_nric_fin", "au_abn", "au_acn", "au_tfn",
    "au_medicare", "in_pan", "in_aadhaar", "in_vehicle_registration", "in_voter", "in_passport",
)  # fmt: skip
KINDS = BUILT_IN_KINDS + PRESIDIO_KINDS


class DetectedSpan(NamedTuple):
    """The characters of a text from `start` up to but not including `end`, which hold a value of a kind of `KINDS`."""

    kind: str
    start: int
    end: int
