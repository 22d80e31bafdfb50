import xpnet


def test_new_arrays_are_made_on_the_default_backend(backend):
    assert xpnet.get_backend() == str(backend)
