"""What ends a test: clear sentences, as failures of assertions."""


class UnmockedError(AssertionError):
    """A step would have reached the outside world, and no mock stands in its place."""


class EndlessError(AssertionError):
    """More was done than a test may do."""


class BrokenError(AssertionError):
    """A run ended in rows that break an invariant of the engine: a defect of it, or of a plug-in."""


class Halt(BaseException):
    """Carries what a mock raised out of the engine, which would make a failed step of any Exception."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause
