"""The exception family.

::

    PmrunError
    ├── PlanError          a plan file or setting is wrong: says where, and what to write instead
    ├── IllegalTransition  a state machine was asked for a move its table does not have
    ├── StaleState         a row was not in the state its writer believed (compare-and-set failed)
    ├── InvariantBroken    something that must never be is: trading stops
    ├── SafetyRefusal      refused for safety: halted, locked by another runner, live not armed
    └── VenueError
        ├── VenueRefused   the exchange proved that it did nothing, and said why
        ├── VenueUnknown   no proof either way: it may have happened
        └── VenueUnreachable   a read or a connection failed; nothing was asked to change
"""


class PmrunError(Exception):
    """Root of every error this program raises on purpose."""


class PlanError(PmrunError):
    """A plan file or a setting is wrong."""


class IllegalTransition(PmrunError):
    """A state machine has no such move from that state."""


class StaleState(PmrunError):
    """A compare-and-set found another state than the writer believed."""


class InvariantBroken(PmrunError):
    """Something that must never be, is. Whoever catches it stops trading in its scope."""


class SafetyRefusal(PmrunError):
    """Refused for safety (exit code 3)."""


class VenueError(PmrunError):
    """Root of what can go wrong at the exchange."""


class VenueRefused(VenueError):
    """The exchange proved that nothing happened, and said why."""


class VenueUnknown(VenueError):
    """No proof either way: the request may have been carried out."""


class VenueUnreachable(VenueError):
    """A read or a connection failed. Never to be taken for an empty answer."""
