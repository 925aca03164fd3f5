"""`beyond-bench decoders --formats`: what each format lets a decoder leave out, and what is used here."""

from __future__ import annotations

from beyond_serve.bench.report import Result
from beyond_serve.preprocess import native
from beyond_serve.preprocess.capabilities import FORMATS, SUPPORT, Feature, decoders_of, support, usable

POSSIBLE, ABSENT = "possible", ""


def formats_table() -> Result:
    """One row for each format, one column for each feature: the decoders that do it here, "possible" where
    the format allows it and nothing here does it, empty where it does not. Measures nothing."""
    result = Result("formats", ("format", "kind", "decoded by", *(str(feature) for feature in Feature)))
    for known in FORMATS:
        cells = (_cell(known.name, feature) for feature in Feature)
        result.rows.append(
            (known.name, known.kind, ", ".join(decoders_of(known.name)) or "not served", *cells)
        )
    result.notes = [f"{one.format}, {one.feature}: {one.how}" for one in SUPPORT]
    named = ", ".join(f"{one.format} ({one.feature})" for one in SUPPORT if one.in_paper)
    result.notes.append(
        f"named in SMOL (section 6.4, Table 5): {named}; the others follow from the standards"
    )
    if not native.available():
        result.notes.append("the native core is not built in this installation: nothing is marked as its")
    return result


def _cell(name: str, feature: Feature) -> str:
    if support(name, feature) is None:
        return ABSENT
    return ", ".join(usable(name, feature)) or POSSIBLE
