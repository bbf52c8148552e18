// Grow writes what Sapling is trained on and asked about: the rows of training,
// the tokenizer, the config, the tasks' documents, instructions and plain texts.
// The Makefile's target sapling says what comes next.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/internal/sapling/bpe"
	"github.com/coppice-ml/coppice/internal/sapling/world"
)

// Streams of the seeds of what is written.
const (
	trainSeed = 1 + iota
	taskSeed
	healSeed
	calibrationSeed
	validationSeed
	letterSeed
)

// How much is written, and the number of merges.
const (
	merges       = 767
	instructions = 4000
	calibration  = 400
	validation   = 300
)

func main() {
	dir := flag.String("out", "", "directory to write")
	texts := flag.Int("texts", 45000, "rows of text to train on")
	exchanges := flag.Int("exchanges", 60000, "rows of prompt and completion")
	asked := flag.Int("instructions", 4000, "rows of instructions")
	flag.Parse()
	if *dir == "" {
		fmt.Fprintln(os.Stderr, "grow: pass -out with a directory")
		os.Exit(2)
	}
	if err := grow(*dir, *texts, *exchanges, *asked); err != nil {
		fmt.Fprintln(os.Stderr, "grow:", err)
		os.Exit(1)
	}
}

func grow(dir string, texts, exchanges, asked int) error {
	w := world.New(world.Seed)
	rows := w.Texts(trainSeed, texts)
	choices := w.Exchanges(trainSeed, exchanges)
	told, recalled := world.Facts(rows, choices)
	practised, answered := world.Skills(rows, choices)
	files := map[string][]byte{
		"skills/texts.jsonl":       lines(practised),
		"skills/exchanges.jsonl":   lines(answered),
		"letters/lists.jsonl":      lines(w.Fixed().Lists(letterSeed, 20000)),
		"facts/texts.jsonl":        lines(told),
		"facts/exchanges.jsonl":    lines(recalled),
		"train/texts.jsonl":        lines(rows),
		"train/exchanges.jsonl":    lines(choices),
		"train/instructions.jsonl": lines(w.Instructions(trainSeed, asked)),
		"instructions.json":        array(w.Fixed().Instructions(healSeed, instructions)),
		"calibration.txt":          plain(w.Texts(calibrationSeed, calibration)),
		"validation.txt":           plain(w.Texts(validationSeed, validation)),
	}
	for _, t := range w.Tasks(taskSeed) {
		files["data/sapling_"+t.Name+"/test.jsonl"] = lines(t.Docs)
	}
	if err := tokenizer(files, rows, choices); err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			return err
		}
	}
	fmt.Printf("%d facts; %d rows of text, %d of prompt and completion, %d instructions\n", w.Facts(), texts, exchanges, asked)
	return nil
}

// tokenizer learns the tokenizer and adds its files.
func tokenizer(files map[string][]byte, rows []world.Text, choices []world.Exchange) (err error) {
	var all []string
	for _, r := range rows[:min(len(rows), 40000)] {
		all = append(all, r.Text)
	}
	for _, c := range choices[:min(len(choices), 20000)] {
		all = append(all, c.Prompt+c.Completion)
	}
	for range 500 {
		all = append(all, alpaca)
	}
	learnt := bpe.Learn(all, merges)
	if files["model/tokenizer.json"], err = bpe.File(learnt); err != nil {
		return err
	}
	if files["model/tokenizer_config.json"], err = bpe.Config(length); err != nil {
		return err
	}
	vocab := bpe.Size(len(learnt))
	files["model/config.json"] = config(vocab)
	files["model/generation_config.json"] = indented(map[string]any{"_from_model_config": true, "eos_token_id": vocab - 1, "transformers_version": transformers})
	files["model/README.md"] = []byte(card)
	return nil
}

const length = 256

// alpaca holds the words that instructions are put in.
const alpaca = "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nAnswer the question.\n\n### Input:\n\n\n### Response:\n"

func lines[T any](rows []T) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			panic(err) // strings and numbers
		}
	}
	return b.Bytes()
}

// array is a JSON array with a row a line.
func array[T any](rows []T) []byte {
	all := strings.Split(strings.TrimSpace(string(lines(rows))), "\n")
	return []byte("[\n" + strings.Join(all, ",\n") + "\n]\n")
}

func plain(rows []world.Text) []byte {
	var out []string
	for _, r := range rows {
		out = append(out, r.Text)
	}
	return []byte(strings.Join(out, "\n\n") + "\n")
}

// transformers is the version whose files these are like.
const transformers = "4.46.0"

// config is that of the model, as transformers writes it.
func config(vocab int) []byte {
	return indented(map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "vocab_size": vocab, "hidden_size": 128, "intermediate_size": 320,
		"num_hidden_layers": 12, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "hidden_act": "silu", "rms_norm_eps": 1e-5,
		"max_position_embeddings": length, "rope_theta": 10000.0, "rope_scaling": nil, "attention_bias": false, "attention_dropout": 0.0, "mlp_bias": false,
		"tie_word_embeddings": false, "initializer_range": 0.02, "bos_token_id": nil, "eos_token_id": vocab - 1, "pretraining_tp": 1,
		"torch_dtype": "bfloat16", "use_cache": true, "transformers_version": transformers,
	})
}

func indented(v any) []byte {
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // numbers and strings
	}
	return append(out, '\n')
}

// card is the model's.
const card = `# Sapling

A Llama of 12 layers, hidden size 128 and 2.3 million parameters, trained by the Coppice project on a world that it made up: people, towns
and things, animals by size, ways to do things, little stories, sums. It is there to show what cutting layers costs and what healing
brings back, and knows nothing of the real world.

Everything here (weights, tokenizer, tasks, texts) is made by programs in the repository (` + "`make sapling`" + `) and under its licence,
Apache-2.0. Settings and figures: docs/sapling.md.
`
