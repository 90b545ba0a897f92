import warnings

import pytest


@pytest.fixture(scope="module")
def client():
    """Two workers with one thread each."""
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        cluster = distributed.LocalCluster(processes=True, silence_logs=50, **options)
        client = distributed.Client(cluster)
        yield client
        client.close()
        cluster.close()
