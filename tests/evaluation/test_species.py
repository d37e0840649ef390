"""AP-10K's metrics, as pycocotools evaluates categories."""

import json

import numpy as np
import pytest
from made_results import SKELETON, make, pycocotools_metrics

from hrnet_jax.evaluation import species


@pytest.fixture
def animals(tmp_path):
    """Annotations of three species in one category, with results, and as pycocotools wants them."""
    content, results = make(3, photos=12, people=60, found=150, categories=(2, 3, 7))
    of_one = [
        {**entry, "category_id": 1, "species": f"s{entry['category_id']}"} for entry in content["annotations"]
    ]
    path = tmp_path / "annotations.json"
    category = {"id": 1, "name": "person"}
    path.write_text(json.dumps({**content, "annotations": of_one, "categories": [category]}))
    found = [{**result, "category_id": 1, "species": f"s{result['category_id']}"} for result in results]
    return content, results, path, found


def test_metrics_are_means_over_species(animals):
    content, results, path, found = animals
    assert species.metrics(found, path, SKELETON) == pycocotools_metrics(content, results)


def test_species_that_nobody_found_count(animals):
    _, _, path, found = animals
    some = [result for result in found if result["species"] != "s7"]
    alone = [species.metrics([r for r in some if r["species"] == name], path, SKELETON) for name in ("s2", "s3")]
    for metric in ("AP", "AR50"):
        both = species.metrics(some, path, SKELETON)[metric]
        assert both == pytest.approx(sum(each[metric] for each in alone)) and both > 0
    assert set(species.metrics([], path, SKELETON).values()) == {0.0}


def test_animals_without_species_are_told(animals):
    _, _, path, _ = animals
    ids = np.array([1, 2])
    assert set(species.names(path, ids)) <= {"s2", "s3", "s7"}
    with pytest.raises(ValueError, match="annotation 0 has no `species`: prepare"):
        species.names(path, np.array([1, 0]))
