"""The two errors a user can meet. Each message is one line and says what to do."""


class CharrnnError(Exception):
    """A run that failed: a damaged file, a full disk, a loss that exploded. The command line exits with 1."""

    exit_code = 1


class UsageError(CharrnnError):
    """A call that can't work: a missing file, an unknown option value, a text too short. Exits with 2."""

    exit_code = 2
