# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first, once.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test test-long device-test tpu-test lint clean

$(VENV)/ready: requirements.txt pyproject.toml Makefile
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt 'pytest>=8' 'pytest-xdist>=3.6' 'hypothesis>=6.100' 'ruff>=0.9' 'pyright[nodejs]>=1.1.390'
	touch $@

# Huge pages spare the CPU the clearing of a step's buffers page by page: a sixth of the time, on Linux.
demo: export GLIBC_TUNABLES = glibc.malloc.hugetlb=1
demo: $(VENV)/ready
	$(RUN) -m hrnet_jax.datasets.made_up --out data/made_up/photos --contact-sheet data/made_up/sheet.jpg \
		--video data/made_up/video.mp4
	$(RUN) -m hrnet_jax.prepare coco --root data/made_up/photos --out data/made_up/records
	$(RUN) train.py --config configs/demo.py --workdir runs/demo
	$(RUN) eval.py --config configs/demo.py --workdir runs/demo
	$(RUN) -m hrnet_jax.predict data/made_up/photos/images/val2017 --checkpoint runs/demo --out runs/demo/poses --resume \
		--boxes data/made_up/photos/person_detection_results/COCO_val2017_detections_AP_H_56_person.json --box_score 0.5
	$(RUN) -m hrnet_jax.predict data/made_up/video.mp4 --checkpoint runs/demo --out runs/demo/video --resume

# A file at a time, since tests of a file share what they make; much of a test keeps one core busy only. By name,
# because the files with the longest tests have few tests and would come last.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
test: $(VENV)/ready
	$(RUN) -m pytest $(PARALLEL) -m 'not slow and not long'

test-long: $(VENV)/ready
	$(RUN) -m pytest $(PARALLEL) -m long

# What must work on an accelerator before a run of days, in the order in which it would fail; see docs/tpu.md.
NETWORK := configs/coco.py:hrnet_w32_256x192
PEOPLE := 128
device-test: $(VENV)/ready data/made_up/records
	$(RUN) -c 'import torch' || $(RUN) -m pip install --quiet torch --index-url https://download.pytorch.org/whl/cpu
	$(RUN) -m hrnet_jax.compare --config $(NETWORK) --precision highest,bfloat16 --steps 0 --out runs/device/compare
	$(RUN) tests/killing.py --kills 6 --longest 20 --out runs/device/kills -- --config.epochs=4 --config.eval_every=1
	$(RUN) -m hrnet_jax.benchmark step predict --side ours --profile --config $(NETWORK) --config.model.dtype=bfloat16 \
		--batch $$($(RUN) -c 'import jax; print($(PEOPLE) * jax.device_count())') --out runs/device/benchmark

tpu-test: $(VENV)/ready
	$(RUN) -m pip install --quiet 'jax[tpu]'
	$(MAKE) device-test

data/made_up/records: | $(VENV)/ready
	$(RUN) -m hrnet_jax.datasets.made_up --out data/made_up/photos
	$(RUN) -m hrnet_jax.prepare coco --root data/made_up/photos --out $@

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright --pythonpath $(RUN)

clean:
	rm -rf $(VENV) data/made_up runs/demo runs/device
