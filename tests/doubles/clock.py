"""Time that passes when a test says so, or when somebody sleeps."""

__all__ = ["Clock"]


class Clock:
    """Tells `now`, in seconds, when it is called."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.delays: list[float] = []
        """What was slept."""

    def __call__(self) -> float:
        return self.now

    async def sleep(self, delay: float) -> None:
        self.delays.append(delay)
        self.now += delay
