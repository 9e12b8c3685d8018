from setuptools import find_packages, setup

MAIN_MODULE = "agent"
packages = find_packages(".")
agent_package = "echo_classic"
agent_module = agent_package + "." + MAIN_MODULE
_temp = __import__(agent_module, globals(), locals(), ["__version__"], 0)

setup(
    name="echoclassicagent",
    version=_temp.__version__,
    install_requires=["volttron"],
    packages=packages,
    entry_points={"setuptools.installation": ["eggsecutable = " + agent_module + ":main"]},
)
