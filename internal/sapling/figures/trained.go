package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/sapling"
	"github.com/coppice-ml/coppice/internal/sapling/training"
	"github.com/coppice-ml/coppice/internal/sapling/world"
)

// training shows the settings of the stages.
func (l *lab) training(b *strings.Builder) error {
	b.WriteString("## Training\n\n" + recipe + "\n| stage | trains | rows | steps | batch | learning rate | warm-up | schedule | seed |\n|---|---|---|---|---|---|---|---|---|\n")
	for i, s := range training.Stages() {
		trains := "everything"
		if s.Last > 0 {
			trains = fmt.Sprintf("the last %d layers, norm and head", s.Last)
		}
		fmt.Fprintf(b, "| %d | %s | %s | %d | %d | %v | %d | %s | %d |\n", i+1, trains, strings.Join(s.Rows, ", "), s.Steps, s.Batch, s.LR, s.Warmup, s.Schedule, s.Seed)
	}
	fmt.Fprintf(b, "\nIn all stages `%s`; the first weights have seed %d. %s\n", strings.Join(training.Common(), " "), training.StartSeed, last)
	return nil
}

// told shows how often training told each fact.
func (l *lab) told(b *strings.Builder) error {
	var rows []string
	for _, s := range training.Stages() {
		taken, err := s.Taken(context.Background(), l.sapling(sapling.ModelDir), l.trained)
		if err != nil {
			return err
		}
		rows = append(rows, taken...)
	}
	w := world.New(world.Seed)
	fmt.Fprintf(b, "The world has %d facts. In how many of the %d rows that the stages take each is told, lists of answers left out:\n\n| facts | number | fewest | median | most |\n|---|---|---|---|---|\n", w.Facts(), len(rows))
	for _, t := range w.Told(slices.Values(rows)) {
		fewest, median, most := t.Range()
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d |\n", t.Kind, len(t.Times), fewest, median, most)
		if fewest < training.Often {
			return fmt.Errorf("%s: told %d times at the fewest, want %d", t.Kind, fewest, training.Often)
		}
	}
	fmt.Fprintf(b, "\nEach is told %d times or more, as was meant.\n\n", training.Often)
	return nil
}

// event is a line of what healing leaves: a step, or the end.
type event struct {
	Type              string
	Step, Threads     int
	Loss, LR, Seconds float64
	Provider          string
}

// events reads those of a stage of training.
func events(dir string) ([]event, error) {
	f, err := os.Open(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []event
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		all = append(all, e)
	}
	return all, nil
}

// losses shows those of the stages, and how long they took.
func (l *lab) losses(b *strings.Builder) error {
	b.WriteString("| stage | step | loss of the batch | learning rate |\n|---|---|---|---|\n")
	var took float64
	var end event
	for i, s := range training.Stages() {
		all, err := events(filepath.Join(l.trained, s.Name))
		if err != nil {
			return err
		}
		steps := slices.DeleteFunc(slices.Clone(all), func(e event) bool { return e.Type != "step" })
		for n, e := range steps {
			if n%max(1, len(steps)/8) == 0 || n == len(steps)-1 {
				fmt.Fprintf(b, "| %d | %d | %.3f | %.2g |\n", i+1, e.Step, e.Loss, e.LR)
			}
		}
		end = all[len(all)-1]
		took += end.Seconds
	}
	cpu, err := l.processor()
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "\nThe stages took %.0f seconds together, with %d threads and %s, beside other work on the machine (%s).\n\n", took, end.Threads, end.Provider, cpu)
	return nil
}

// processor is the name of this machine's.
func (l *lab) processor() (string, error) {
	raw, err := l.run("doctor", "--json")
	if err != nil {
		return "", err
	}
	var d struct{ CPU struct{ Model string } }
	if err := json.Unmarshal(raw, &d); err != nil {
		return "", fmt.Errorf("doctor: %w", err)
	}
	return d.CPU.Model, nil
}
