"""Finer names of errors: the stable words that say which case of a class it was, by the class's name."""

from __future__ import annotations

CASES: dict[str, str] = {
    "InvalidInput": (
        "SHAPE_MISMATCH DTYPE_MISMATCH MISSING_INPUT UNKNOWN_INPUT DUPLICATE_INPUT UNKNOWN_OUTPUT DUPLICATE_OUTPUT BYTE_COUNT BAD_VALUE "
        "BAD_NAME BAD_PARAMETER BAD_ID BAD_HEADER NOT_FINITE_INPUT NOT_TEXT BATCH_TOO_LARGE EXPECTATION REQUEST_TIMEOUT "
        "BAD_MANIFEST BAD_ARCHIVE BAD_UPLOAD BAD_MODEL UNSUPPORTED_FORMAT SOURCE_REFUSED MODEL_TOO_HUNGRY MODEL_TOO_SLOW MODEL_CRASHED"
    ),
    "MalformedBody": "BAD_JSON",
    "ExecutionFailed": "POISON_ROW",
    "OutputContract": "OUTPUT_NOT_FINITE",
    "QuotaExceeded": "CONCURRENCY",
    "RequestTooLarge": "URI_TOO_LONG HEADERS_TOO_LARGE ARTEFACT_TOO_LARGE",
    "Overloaded": "REPLICA_OVERLOADED",
    "NoReadyReplica": "MODEL_LOADING",
    "UnsupportedMedia": "METHOD_NOT_ALLOWED MEDIA_TYPE",
    "NotImplementedHere": "SHARED_MEMORY PACKAGE_MISSING",
    "NotFound": "ARTEFACT_NOT_FOUND",
    "Conflict": "FEATURE_SCHEMA_MISMATCH",
    "Unavailable": "STORE_UNAVAILABLE CACHE_FULL DISK_FULL",
    "TenantForbidden": "NOT_OWNER BAD_SIGNATURE",
}
"""Words separated by spaces; none is a class's own reason, and each belongs to one class."""
