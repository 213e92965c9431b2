"""tools/bootstrap for real, in small projects of its own: true virtual environments, a true pip, and no network.

The project under test has no requirements and builds itself, so pip has nothing to fetch.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pip
import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys._base_executable  # not the python of the environment that the tests run in

pytestmark = pytest.mark.skipif(
    subprocess.run([PYTHON, "-c", "import ensurepip"], check=False, capture_output=True).returncode != 0,
    reason="this Python has no ensurepip, so these tests have no pip without a network",
)

SETUP_CFG = "[options.extras_require]\ndev =\n"
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import os, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    files = {
        "sample.pth": os.getcwd() + "\\n",
        "sample-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: sample\\nVersion: 1\\n",
        "sample-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files["sample-1.dist-info/RECORD"] = "".join(name + ",,\\n" for name in files) + "sample-1.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(wheel_directory, "sample-1-py3-none-any.whl"), "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "sample-1-py3-none-any.whl"
"""

GOOD_PYTHON = f"#!/bin/sh\nexec '{PYTHON}' \"$@\"\n"
# The same in a tenth of the time: its environments come with a link to our pip, where ensurepip would unpack one.
QUICK_PYTHON = f"""#!/bin/sh
case "$*" in
    *_base_executable*) echo "$0" ;;
    *'-m venv .venv') exec '{PYTHON}' -I -c '
import os, sys, sysconfig, venv
venv.create(".venv", symlinks=True)
os.symlink(sys.argv[1], sysconfig.get_path("purelib", "venv", dict.fromkeys(("base", "platbase"), ".venv")) + "/pip")
' '{Path(pip.__file__).parent}' ;;
    *) exec '{PYTHON}' "$@" ;;
esac
"""
# A Python as Debian ships it without python3-venv: it makes no environment that has a pip, and has none itself.
BARE_PYTHON = f"""#!/bin/sh
case "$*" in
    *_base_executable*) case "$*" in *ensurepip*) exit 1 ;; *) echo "$0" ;; esac ;;
    *'-m venv .venv'* | *'-m pip'* | *'-m virtualenv'*) exit 1 ;;
    *) exec '{PYTHON}' "$@" ;;
esac
"""
# A system's pip, here without a network: it knows one package, pip, and where it was told to put it.
SYSTEM_PIP = f"""#!/bin/sh
[ "$1 $2 $3 $5" = 'install --no-input --target pip' ] || exit 1
exec '{sys.executable}' -c '
import pip, shutil, sys
shutil.copytree(pip.__path__[0], sys.argv[1] + "/pip")' "$4"
"""


@dataclass(frozen=True)
class Project:
    """A checkout in a folder whose name has spaces, and a PATH that holds only what a test puts there."""

    root: Path
    commands: Path

    def command(self, name: str, script: str) -> None:
        path = self.commands / name
        path.write_text(script)
        path.chmod(0o755)

    def start(self, want: str) -> subprocess.Popen[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_"))}
        environment["PATH"] = str(self.commands)
        command = ["/bin/sh", str(self.root / "tools" / "bootstrap"), want]
        return subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def bootstrap(self, want: str = "run") -> tuple[int, list[str]]:
        """Its status, and the lines that it says."""
        process = self.start(want)
        stdout, stderr = process.communicate(timeout=100)
        assert stdout == ""
        return process.returncode, stderr.splitlines()

    def works(self) -> bool:
        python = self.root / ".venv" / "bin" / "python"
        return subprocess.run([python, "-c", "import backend"], check=False, cwd="/").returncode == 0


def new_project(folder: Path) -> Project:
    project = Project(folder / "a folder" / "with spaces", folder / "bin")
    (project.root / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "bootstrap", project.root / "tools")
    for name, text in {"setup.cfg": SETUP_CFG, "pyproject.toml": PYPROJECT, "backend.py": BACKEND}.items():
        (project.root / name).write_text(text)
    project.commands.mkdir()
    (project.commands / "rm").symlink_to(shutil.which("rm") or "/bin/rm")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path)


@pytest.fixture
def with_python(project: Project) -> Project:
    project.command("python3", QUICK_PYTHON)
    return project


@pytest.fixture(scope="module")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Shared, since making one takes seconds: each test leaves it whole."""
    project = new_project(tmp_path_factory.mktemp("shared"))
    project.command("python3", QUICK_PYTHON)
    status, lines = project.bootstrap()
    assert (status, len(lines)) == (0, 2), lines
    return project


def test_without_any_python_one_line_says_what_to_install(project):
    (project.commands / "rm").unlink()  # nothing at all on PATH
    status, lines = project.bootstrap()
    assert (status, len(lines)) == (1, 1)
    assert "install" in lines[0]
    assert not (project.root / ".venv").exists()


def test_a_python_that_is_too_old_or_does_not_run_is_passed_over(project):
    project.command("python3.14", "#!/bin/sh\necho 'python3.14: command not found' >&2\nexit 127\n")
    project.command("python3.13", "#!/bin/sh\nexit 1\n")
    project.command("python3", GOOD_PYTHON)
    assert project.bootstrap()[0] == 0
    assert project.works()


def test_only_pythons_that_are_too_old_is_the_same_as_none(project):
    project.command("python3", "#!/bin/sh\nexit 1\n")
    status, lines = project.bootstrap()
    assert (status, len(lines)) == (1, 1)


def test_the_second_run_does_nothing_and_says_nothing(bootstrapped):
    def made() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in (bootstrapped.root / ".venv").iterdir()}

    before = made()
    assert bootstrapped.bootstrap() == (0, [])
    assert made() == before


def test_the_tools_are_added_to_what_is_there(bootstrapped):
    (bootstrapped.root / ".venv" / "stamp-dev").unlink(missing_ok=True)
    stamp = (bootstrapped.root / ".venv" / "stamp-run").stat().st_mtime_ns
    status, lines = bootstrapped.bootstrap("dev")
    assert (status, len(lines)) == (0, 1), lines
    assert (bootstrapped.root / ".venv" / "stamp-run").stat().st_mtime_ns == stamp
    assert bootstrapped.bootstrap("dev") == (0, [])


def lose_the_stamp(root: Path) -> None:
    (root / ".venv" / "stamp-run").unlink()


def lose_the_interpreter(root: Path) -> None:
    python = root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/gone/python3")


def change_the_requirements(root: Path) -> None:
    with (root / "setup.cfg").open("a") as file:
        file.write("\n# changed\n")


@pytest.mark.parametrize("damage", [lose_the_stamp, lose_the_interpreter, change_the_requirements])
def test_an_environment_that_cannot_be_trusted_is_made_anew(bootstrapped, damage):
    leftover = bootstrapped.root / ".venv" / "leftover"
    leftover.touch()
    damage(bootstrapped.root)
    assert bootstrapped.bootstrap()[0] == 0
    assert bootstrapped.works()
    assert not leftover.exists()


def test_one_that_was_moved_is_made_anew(bootstrapped, tmp_path):
    moved = Project(bootstrapped.root.rename(tmp_path / "moved"), bootstrapped.commands)
    assert not moved.works()
    assert moved.bootstrap()[0] == 0
    assert moved.works()
    moved.root.rename(bootstrapped.root)
    assert bootstrapped.bootstrap()[0] == 0


def test_one_that_was_killed_in_the_middle_is_made_anew(with_python):
    process = with_python.start("run")
    deadline = time.monotonic() + 60
    while not (with_python.root / ".venv" / "installing").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert with_python.bootstrap()[0] == 0
    assert with_python.works()


def test_two_at_once_make_it_once(with_python):
    pair = [with_python.start("run") for _ in range(2)]
    lines = "".join(process.communicate(timeout=100)[1] for process in pair)
    assert [process.returncode for process in pair] == [0, 0]
    assert lines.count("made .venv") == 1
    assert with_python.works()


def test_where_pip_fails_its_output_is_shown_and_then_what_to_do(with_python):
    (with_python.root / "backend.py").write_text("raise SystemExit('no luck today')\n")
    status, lines = with_python.bootstrap()
    assert status == 1
    assert any("no luck today" in line for line in lines)
    assert "pip failed" in lines[-1]
    (with_python.root / "backend.py").write_text(BACKEND)
    assert with_python.bootstrap()[0] == 0


def test_without_ensurepip_a_pip_of_the_system_is_borrowed(project):
    project.command("python3", BARE_PYTHON)
    project.command("pip3", SYSTEM_PIP)
    assert project.bootstrap()[0] == 0
    assert project.works()


def test_without_ensurepip_and_pip_one_line_says_what_to_install(project):
    project.command("python3", BARE_PYTHON)
    status, lines = project.bootstrap()
    assert (status, len(lines)) == (1, 1)
    assert "python3-venv" in lines[0]
    assert not (project.root / ".venv").exists()
