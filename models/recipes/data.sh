#!/bin/sh
#
# data.sh FROM TO
#	  Gather the texts that the recipes learn from into files that COPY reads.
#
# FROM has a folder a data set; models/README.md says which they are, where they come from and on what terms.

set -eu

mkdir -p "$2"
cp "$1/sentiment-sst2/train.tsv" "$2/sst_train.tsv"
cp "$1/sentiment-sst2/dev.tsv" "$2/sst_dev.tsv"
cp "$1/sentiment-waimai-zh/train.csv" "$2/waimai.csv"
cp "$1/intent-banking77/train.csv" "$2/banking.csv"
cp "$1/sts-b/stsb-en-train.csv" "$2/sts_train.csv"
cp "$1/sts-b/stsb-en-dev.csv" "$2/sts_dev.csv"
gzip -dc "$1/translation-multi30k/train.en.gz" >"$2/captions.txt"
cp "$1/translation-en-zh/train.txt" "$2/pairs.txt"
cp "$1/lm/wikitext2-valid.txt" "$2/articles.txt"
cp "$1/lm/tinyshakespeare.txt" "$2/plays.txt"
cp "$1/lm/tang300.json" "$2/tang300.json"
cp "$1/lm/songci300.json" "$2/songci300.json"
cp "$1/lm/poet.tang.0.json" "$2/tang.json"
