"""How many examples are tried: few and always the same, or ``--hypothesis-profile=long``."""

from hypothesis import HealthCheck, Phase, settings

_SLOW = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large)
# No deadline and no database: what is tried does not depend on the machine or on earlier runs.
settings.register_profile(
    "few",
    max_examples=15,
    derandomize=True,
    deadline=None,
    database=None,
    # A failure is shown as it was found; the long profile searches for the simplest.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=_SLOW,
)
settings.register_profile(
    "long",
    max_examples=1000,
    deadline=None,
    print_blob=True,
    phases=tuple(phase for phase in Phase if phase is not Phase.explain),
    suppress_health_check=_SLOW,
)
settings.load_profile("few")
