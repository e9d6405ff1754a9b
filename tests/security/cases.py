"""Cases: functions that return None, or what is wrong; the first line of their text is their name."""


def problem_of(case, gateway, *more):
    """What is wrong after this case, also that the gateway did not live through it."""
    try:
        problem = case(gateway, *more)
    except (OSError, EOFError, ValueError, TypeError) as error:
        problem = repr(error)
    return problem or (None if gateway.alive() else "the gateway ended")


def name_of(case):
    return case.__doc__.splitlines()[0]


def report(results):
    """Tells of (name, problem) each, and ends as every suite does; the exit code."""
    failed = [(name, problem) for name, problem in results if problem]
    for name, problem in failed:
        print(f"FAIL {name}: {problem}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0
