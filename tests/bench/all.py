"""Every contest, in the order of the page."""

from tests.bench import active, growth, profile, trials, way_in

EVERY = (
    way_in.SPEED,
    active.LOOPBACK,
    active.LINK,
    profile.PROFILE,
    way_in.MEMORY,
    trials.MEMORY_BY_SIZE,
    trials.RESUMING,
    trials.CROWD,
    growth.UNFINISHED,
    growth.FRAGMENTS_OF_ONE,
    growth.LARGE,
)
