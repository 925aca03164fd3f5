# Thin: each target is one of the scripts.
.PHONY: serve test lint types imports unit long wheel demo

serve:
	scripts/serve

test:
	scripts/test

lint types imports unit long wheel:
	scripts/test $@

demo: # train the demo model and draw the example images again
	scripts/setup demo
	.venv/bin/beyond-models demo
	.venv/bin/beyond-models demo --examples examples
