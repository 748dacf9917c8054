"""When the files of a version were looked at last, and what was wrong with them.

Revision 0002.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, Text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; a release of before goes on writing rows without them."""
    op.add_column("versions", Column("checked_time", Double))
    op.add_column("versions", Column("damage", Text, nullable=False, server_default=""))
