"""The server that pictures and tests start: it is gone when they are, however they end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

pytest.importorskip("solara", reason="the browser UI's packages are not installed: pip install 'backstop[app]'")

from experiments.app import picture

type Started = list[subprocess.Popen[bytes]]

SLEEPER = picture.SERVER.replace("from experiments.cli import main\nmain(sys.argv[1:])", "import time\ntime.sleep(600)")
"""What is served instead: nothing, but it ends as the server does."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The servers that have been started, each of which only sleeps, and is believed to be ready."""
    processes: Started = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            processes.append(self)

    monkeypatch.setattr(picture.subprocess, "Popen", Noted)
    monkeypatch.setattr(picture, "SERVER", SLEEPER)
    monkeypatch.setattr(picture, "_wait", lambda *_: None)
    return processes


@pytest.mark.parametrize("ending", [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_server_ends_with_the_block(started: Started, ending: type[BaseException] | None) -> None:
    def block() -> None:
        with picture.served():
            assert started[0].poll() is None
            if ending is not None:
                raise ending

    if ending is None:
        block()
    else:
        with pytest.raises(ending):
            block()
    assert started[0].poll() is not None


def test_a_server_that_does_not_listen_is_killed(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n{SLEEPER}"
    monkeypatch.setattr(picture, "SERVER", deaf)
    monkeypatch.setattr(picture, "PARTING", 0.2)
    monkeypatch.setattr(picture, "_wait", lambda _address, _process, _patience, said: until(lambda: os.fstat(said.fileno()).st_size > 0))
    with picture.served():
        pass
    assert started[0].returncode == -9


def test_a_server_that_ends_at_once_is_told_with_what_it_said(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(picture, "SERVER", "import sys; sys.exit('no such scenario')")
    with pytest.raises(RuntimeError, match="the server ended: no such scenario"), picture.served():
        pass


def test_a_server_does_not_outlive_a_process_that_is_killed() -> None:
    holder = (
        "import time; from experiments.app import picture\n"
        f"picture.SERVER = 'import os; print(os.getpid(), flush=True)' + {SLEEPER!r}\n"
        "picture._wait = lambda _address, process, *_: print(process.pid, flush=True)\n"
        "with picture.served(): time.sleep(600)"
    )
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
        assert process.stdout is not None
        server = int(process.stdout.readline())
        os.kill(server, 0)
        process.kill()
    until(lambda: not alive(server))


def alive(process: int) -> bool:
    """Whether it runs; one that has ended and that nobody has asked after does not."""
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def until(true: Callable[[], bool]) -> None:
    """Waits for it."""
    for _ in range(400):
        if true():
            return
        time.sleep(0.05)
    raise TimeoutError
