"""Ten thousand mixed requests at once, by mixed_load.py."""

import pathlib
import subprocess
import sys


def test_each_answer_under_load_is_the_one_given_alone(capsys):
    script = pathlib.Path(__file__).with_name("mixed_load.py")
    with capsys.disabled():
        done = subprocess.run([sys.executable, script, "--requests", "10000"], timeout=600)
    assert done.returncode == 0
