"""Maps the top-level model folders to sub-packages of ``foveal``; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("backbones", "necks", "heads", "ops", "configs", "tools")

packages = find_packages(include=["foveal", "foveal.*"])
for folder in FOLDERS:
    packages += [f"foveal.{folder}"] + [f"foveal.{folder}.{name}" for name in find_packages(folder)]

setup(
    packages=packages,
    package_dir={"foveal": "foveal", **{f"foveal.{folder}": folder for folder in FOLDERS}},
    package_data={
        "foveal": ["py.typed", "zoo/index/*.yaml"],
        "foveal.configs": ["**/*.py"],
        "foveal.ops": ["**/csrc/*"],
    },
    include_package_data=False,
)
