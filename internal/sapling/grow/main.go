// Grow writes what Sapling is trained on and asked about: the rows of training,
// the tokenizer, the config, the tasks' documents, instructions and plain texts. With
// -coppice it trains, too; what was interrupted goes on.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/internal/sapling"
	"github.com/coppice-ml/coppice/internal/sapling/bpe"
	"github.com/coppice-ml/coppice/internal/sapling/training"
	"github.com/coppice-ml/coppice/internal/sapling/world"
)

// Streams of the seeds of what is written beside the rows of training.
const (
	taskSeed = 2 + iota
	healSeed
	calibrationSeed
	validationSeed
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
	coppice := flag.String("coppice", "", "the program, to train with; none: only write")
	full := flag.Bool("full", false, "train everything in each stage, for comparison")
	flag.Parse()
	if *dir == "" {
		fmt.Fprintln(os.Stderr, "grow: pass -out with a directory")
		os.Exit(2)
	}
	stages := training.Stages()
	if *full {
		stages = training.Full(stages)
	}
	err := grow(*dir)
	if err == nil && *coppice != "" {
		err = train(*coppice, *dir, stages)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grow:", err)
		os.Exit(1)
	}
}

func grow(dir string) error {
	w := world.New(world.Seed)
	rows := training.NewRows(w)
	files := rows.Files()
	files[sapling.Instructions] = array(w.Fixed().Instructions(healSeed, instructions))
	files[sapling.Calibration] = plain(w.Texts(calibrationSeed, calibration))
	files[sapling.Validation] = plain(w.Texts(validationSeed, validation))
	for _, t := range w.Tasks(taskSeed) {
		files[sapling.DataDir+"/sapling_"+t.Name+"/test.jsonl"] = training.Lines(t.Docs)
	}
	if err := tokenizer(files, rows.Texts, rows.Exchanges); err != nil {
		return err
	}
	if err := training.Write(dir, files); err != nil {
		return err
	}
	fmt.Printf("%d facts; %d rows of text, %d of prompt and completion, %d instructions, %d lists\n",
		w.Facts(), len(rows.Texts), len(rows.Exchanges), len(rows.Instructions), len(rows.Lists))
	return nil
}

// train makes the first weights and runs the stages, each a command of the program.
func train(coppice, dir string, stages []training.Stage) error {
	if _, err := os.Stat(filepath.Join(dir, training.Start)); errors.Is(err, fs.ErrNotExist) {
		if err := run(coppice, training.First(dir, sapling.ModelDir)...); err != nil {
			return err
		}
	}
	before := ""
	for _, s := range stages {
		if err := run(coppice, s.Command(dir, before)...); err != nil {
			return err
		}
		before = s.Name
	}
	return nil
}

// run says what it runs. An interrupt ends the program, which saves what it has, and
// only then this one.
func run(coppice string, args ...string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fmt.Println(coppice, strings.Join(args, " "))
	c := exec.Command(coppice, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("coppice %s: %w", args[0], err)
	}
	return ctx.Err()
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

// array is a JSON array with a row a line.
func array[T any](rows []T) []byte {
	all := strings.Split(strings.TrimSpace(string(training.Lines(rows))), "\n")
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
