"""What two texts have in common that say the same. Pure."""

import hashlib
import unicodedata


def normalised(text: str) -> str:
    """Without what doesn't matter: Unicode forms, case, spaces.

    Prompts are held out by it: changing it moves rows between the sides of the split.
    """
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(folded.casefold().split())


def key_of(*texts: str) -> bytes:
    """16 bytes, the same for texts that are equal once normalised, one by one."""
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        said = normalised(text).encode("utf-8", "surrogatepass")
        digest.update(len(said).to_bytes(8, "little") + said)
    return digest.digest()
