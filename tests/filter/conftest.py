"""Fixtures of the filter's table: the module under test and Envoys that run it."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
from harness import paths

from .attachments import ATTACHMENTS, NATIVE, by_default, chain
from .discovered import DiscoveredFilters
from .gateway import Gateway, installed
from .modules import another_build

# The longest row takes about a minute on two shared cores; whatever takes longer hangs.
ROW_SECONDS = 150


def pytest_collection_modifyitems(config, items):
    own = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in own:
        item.add_marker(pytest.mark.timeout(ROW_SECONDS))
    left_out = {item for item in own if is_left_out(item)}
    config.hook.pytest_deselected(items=[*left_out])
    items[:] = [item for item in items if item not in left_out]


def is_left_out(item) -> bool:
    """A row that says nothing about the native host, or about another Envoy, or an attachment that this Envoy cannot run."""
    values = item.callspec.params if hasattr(item, "callspec") else {}
    is_native = NATIVE in item.name
    if is_native and values.get("version") in paths.ENVOY_VERSIONS_WITHOUT_NATIVE:
        return True
    if not is_native and values.get("version") in paths.ENVOY_VERSIONS_WITHOUT_WASM:
        return True
    return is_native and is_beside(item, "natively") or "version" in values and is_beside(item, "elsewhere")


def is_beside(item, marker: str) -> bool:
    """Whether the item has a value that is not among those of its marker."""
    found = item.get_closest_marker(marker)
    return found is not None and any(item.callspec.params[name] not in only for name, only in found.kwargs.items())


@pytest.fixture(scope="session")
def module():
    """The release build of the filter. It is the thing under test: without it the table fails, it does not skip."""
    try:
        return paths.filter_module()
    except FileNotFoundError as missing:
        pytest.fail(str(missing))


@pytest.fixture(params=ATTACHMENTS, scope="module")
def attachment(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def version() -> str:
    """The Envoy that a test runs on."""
    return installed(paths.ENVOY_VERSION)


@pytest.fixture(scope="module")
def start(origin, version, tmp_path_factory):
    """Starts a gateway with these filters, or gives the one of this file that runs them already."""
    running = {}

    def gateway(filters, **options) -> Gateway:
        key = json.dumps([filters, options], sort_keys=True)
        if key not in running:
            running[key] = Gateway(filters, origin, tmp_path_factory.mktemp("envoy"), version=version, **options)
        return running[key]

    yield gateway
    for each in running.values():
        each.stop()


@pytest.fixture(scope="module")
def gateway(start, module, attachment) -> Gateway:
    """The filter as it is by default but for its patience, in each attachment."""
    return start(chain(attachment, module))


@pytest.fixture(scope="module")
def hasty(start, module, attachment) -> Gateway:
    """The filter as it is by default."""
    return start(by_default(attachment, module))


@pytest.fixture(scope="session")
def native_module():
    """The release build of the native module."""
    try:
        return paths.native_module()
    except FileNotFoundError as missing:
        pytest.fail(str(missing))


@pytest.fixture
def modules(tmp_path) -> Path:
    """A folder in which Envoy finds the native module, and other builds of it."""
    folder = tmp_path / "modules"
    folder.mkdir()
    if paths.NATIVE_MODULE.exists():
        shutil.copy(paths.NATIVE_MODULE, folder)
    return folder


@pytest.fixture
def new_module(module, native_module, tmp_path, modules):
    """Makes a build that Envoy takes for another module, each time another one."""
    numbers = itertools.count()

    def new(role: str = "") -> Path:
        number = next(numbers)
        if role == NATIVE:
            return Path(shutil.copy(native_module, modules / f"libbody_hash_filter_{number}.so"))
        return another_build(module, tmp_path / f"filter-{number}.wasm")

    return new


@pytest.fixture
def discovered(module, origin, version, tmp_path, modules):
    """Starts the filters of an attachment as discovered ones."""
    running = []

    def start(attachment: str, *, configuration=None, **options) -> DiscoveredFilters:
        members = chain(attachment, module, **(configuration or {}))
        filters = DiscoveredFilters(members, tmp_path, origin, version=version, modules=modules, **options)
        running.append(filters)
        return filters

    yield start
    for each in running:
        each.gateway.stop()
