"""The signature that a version was registered with, and the name of its key.

Revision 0003.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary, String

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; a release of before goes on writing rows without them, and its signatures are not kept."""
    op.add_column("versions", Column("version_signature", LargeBinary))
    op.add_column("versions", Column("signed_by", String(255), nullable=False, server_default=""))
