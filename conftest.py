"""For all tests and doctests: what one changes in torch, the next does not see."""

import pytest
import torch


@pytest.fixture(autouse=True)
def settings_of_torch():
    """Restore the default dtype and the number of threads after each test."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
