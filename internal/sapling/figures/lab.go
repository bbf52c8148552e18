package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/internal/sapling"
)

// lab runs trials in a directory.
type lab struct {
	coppice, trained, dir string
}

func (l *lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.dir}, parts...)...)
}

func (l *lab) sapling(parts ...string) string {
	return filepath.Join(append([]string{l.dir, "sapling"}, parts...)...)
}

// run runs the program and returns its standard output.
func (l *lab) run(args ...string) ([]byte, error) {
	c := exec.Command(l.coppice, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("coppice %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.Bytes(), nil
}

// result is what an evaluation found: of each task, numbers by names such as
// "acc,none".
type result map[string]map[string]any

func (r result) number(task, name string) float64 {
	v, ok := r[task][name].(float64)
	if !ok {
		return math.NaN()
	}
	return v
}

// acc is the accuracy of a task, and stderr its standard error.
func (r result) acc(task string) float64    { return r.number(task, "acc,none") }
func (r result) stderr(task string) float64 { return r.number(task, "acc_stderr,none") }

// mean is the mean accuracy of all tasks.
func (r result) mean() float64 { return r.acc(sapling.Group) }

// eval asks all tasks of a model, or of what is left of it.
func (l *lab) eval(name, model string, more ...string) (result, error) {
	file := l.path(name + ".json")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		args := append([]string{
			"eval", model, "--tasks", sapling.Group, "--task-dir", l.sapling(sapling.TaskDir), "--data-dir", l.sapling(sapling.DataDir),
			"--dtype", "float32", "--quiet", "--out", file,
		}, more...)
		if _, err := l.run(args...); err != nil {
			return nil, err
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all struct{ Results result }
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all.Results, nil
}

// healing is a way to heal.
type healing struct {
	name string
	args []string
}

// healings are those of the table: the guide's is the last 3 layers with the head.
func healings() []healing {
	partial := func(k string) []string { return []string{"--method", "partial", "--last", k, "--lr", "1e-3"} }
	return []healing{
		{"head", partial("0")}, {"last 1", partial("1")}, {"last 2", partial("2")}, {"last 3", partial("3")},
		{"LoRA", []string{"--method", "lora", "--lr", "1e-3"}}, {"full", []string{"--method", "full", "--lr", "5e-4"}},
	}
}

func guide() healing { return healings()[3] }

func seeds() []string { return []string{"42", "43", "44"} }

// heal heals what is left without some layers and asks the tasks.
func (l *lab) heal(h healing, drop, seed string) (result, error) {
	name := strings.NewReplacer(" ", "", ",", "+").Replace(h.name + "_" + drop + "_" + seed)
	out := l.path("healed", name)
	model, more := out, []string{}
	if h.name == "LoRA" {
		model, more = l.sapling(sapling.ModelDir), []string{"--drop", drop, "--adapter", out}
	}
	if _, err := os.Stat(l.path(name + ".json")); err == nil {
		return l.eval(name, model, more...)
	}
	args := append([]string{
		"heal", l.sapling(sapling.ModelDir), "--drop", drop, "--out", out, "--data", l.sapling(sapling.Instructions), "--max-length", "128",
		"--validation", "100", "--eval-every", "20", "--epochs", "2", "--batch-size", "32", "--dtype", "float32", "--seed", seed, "--quiet", "--yes", "--json",
	}, h.args...)
	if _, err := l.run(args...); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(out) }()
	return l.eval(name, model, more...)
}

// chosen are the layers that a metric drops at a quarter, as a list.
func (l *lab) chosen(metric, seed string) (string, error) {
	raw, err := l.run("prune", l.sapling(sapling.ModelDir), "--by", metric, "--ratio", "0.25", "--dry-run", "--json", "--quiet", "--yes",
		"--data", l.sapling(sapling.Calibration), "--length", "64", "--seed", seed, "--dtype", "float32")
	if err != nil {
		return "", err
	}
	var plan struct{ Drop []int }
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &plan); err != nil {
			return "", fmt.Errorf("plan of %s: %w", metric, err)
		}
	}
	if len(plan.Drop) == 0 {
		return "", fmt.Errorf("plan of %s drops nothing:\n%s", metric, raw)
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(plan.Drop), " ", ","), "[]"), nil
}

// spread is a mean and the standard deviation of a sample.
func spread(xs []float64) (mean, deviation float64) {
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		deviation += (x - mean) * (x - mean)
	}
	if len(xs) < 2 {
		return mean, 0
	}
	return mean, math.Sqrt(deviation / float64(len(xs)-1))
}
