"""What colcon and older setuptools need beyond pyproject.toml, above all ROS's files in share/."""

from pathlib import Path

from setuptools import Distribution, setup

NAME = "control_stack"
ROOT = Path(__file__).parent


class PlainDistribution(Distribution):
    """colcon reads setup data as Python literals; setuptools turns requires-python into an object."""

    def parse_config_files(self, *args, **kwargs):
        super().parse_config_files(*args, **kwargs)
        for owner in (self, self.metadata):
            if getattr(owner, "python_requires", None) is not None:
                owner.python_requires = str(owner.python_requires)


def listing(folder: str, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob(pattern))


setup(
    distclass=PlainDistribution,
    # Not in pyproject.toml: the SPDX string needs setuptools 77, Jazzy has 68; the table is deprecated.
    license="Apache-2.0",
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        # With --symlink-install colcon builds from a folder that holds the data files and rooms only:
        # listing pyproject.toml (and the README it names) is what makes it appear there.
        (f"share/{NAME}", ["package.xml", "pyproject.toml", "README.md"]),
        (f"share/{NAME}/launch", listing("launch", "*.launch.py")),
        (f"share/{NAME}/config", listing("config", "*.yaml")),
    ],
)
