import pytest

from rendering import VALUE_SETS, name_of, rendered


def pytest_generate_tests(metafunc):
    """A test that takes a `values_file` runs once for each value set."""
    if "values_file" in metafunc.fixturenames:
        metafunc.parametrize("values_file", VALUE_SETS, ids=name_of)


@pytest.fixture
def objects(values_file):
    return rendered(values_file)
