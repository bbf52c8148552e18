package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/sapling"
)

// chance is what guessing gets of a task.
func chance(task string) float64 {
	if strings.HasSuffix(task, "piqa") || strings.HasSuffix(task, "winogrande") {
		return 0.5
	}
	return 0.25
}

// page measures everything and writes it down.
func (l *lab) page() (string, error) {
	var b strings.Builder
	b.WriteString(intro)
	for _, part := range []func(*strings.Builder) error{l.training, l.told, l.losses, l.tasks, l.ways, l.metrics} {
		if err := part(&b); err != nil {
			return "", err
		}
	}
	return strings.TrimSpace(b.String()) + "\n", nil
}

// tasks shows the model as it is, and without its last quarter.
func (l *lab) tasks(b *strings.Builder) error {
	model := l.sapling(sapling.ModelDir)
	dense, err := l.eval("dense", model)
	if err != nil {
		return err
	}
	cut, err := l.eval("cut_9,10,11", model, "--drop", "9,10,11")
	if err != nil {
		return err
	}
	healed, err := l.heal(guide(), "9,10,11", seeds()[0])
	if err != nil {
		return err
	}
	b.WriteString("## Tasks\n\nAccuracy in percent; after ± the standard error. *cut*: without layers 9, 10 and 11. *healed*: after the guide's healing (last 3 layers, norm and head, seed 42).\n\n")
	b.WriteString("| task | chance | whole | above chance by | cut | healed |\n|---|---|---|---|---|---|\n")
	for _, t := range sapling.Tasks() {
		fmt.Fprintf(b, "| %s | %.0f | %.1f ± %.1f | %s | %.1f | %.1f |\n", t, 100*chance(t), 100*dense.acc(t), 100*dense.stderr(t),
			above(dense.acc(t), chance(t), dense.stderr(t)), 100*cut.acc(t), 100*healed.acc(t))
	}
	fmt.Fprintf(b, "| **mean** | | **%.1f ± %.1f** | | **%.1f** | **%.1f** |\n\n", 100*dense.mean(), 100*dense.stderr(sapling.Group), 100*cut.mean(), 100*healed.mean())
	b.WriteString(short)
	fmt.Fprintf(b, "Cutting costs %.1f points, healing brings %.0f %% of them back.\n\n", 100*(dense.mean()-cut.mean()), 100*(healed.mean()-cut.mean())/(dense.mean()-cut.mean()))
	return nil
}

// above says how far above chance an accuracy is. Where all answers are right there is
// no standard error to measure by.
func above(acc, chance, stderr float64) string {
	if acc == 1 {
		return "every answer right"
	}
	return fmt.Sprintf("%.1f standard errors", (acc-chance)/stderr)
}

// ways shows each way of healing the cut of the last quarter.
func (l *lab) ways(b *strings.Builder) error {
	cut, err := l.eval("cut_9,10,11", l.sapling(sapling.ModelDir), "--drop", "9,10,11")
	if err != nil {
		return err
	}
	b.WriteString("## Ways to heal\n\nThe last quarter cut; mean accuracy of the tasks, mean ± standard deviation over three seeds of the order of the data.\n\n| healing | mean accuracy |\n|---|---|\n")
	fmt.Fprintf(b, "| none | %.1f |\n", 100*cut.mean())
	for _, h := range healings() {
		var all []float64
		for _, seed := range seeds() {
			r, err := l.heal(h, "9,10,11", seed)
			if err != nil {
				return err
			}
			all = append(all, r.mean())
		}
		fmt.Fprintf(b, "| %s | %s |\n", h.name, percent(all))
	}
	b.WriteString("\n")
	return nil
}

// ranked are the metrics of the table.
func ranked() []string {
	return []string{"reverse", "random", "magnitude-l1", "magnitude-l2", "taylor", "bi", "cka", "ppl", "greedy-ppl"}
}

// metrics shows what each metric's choice comes to.
func (l *lab) metrics(b *strings.Builder) error {
	b.WriteString("## Choices of metrics\n\nA quarter of the layers by each metric, with three seeds of the calibration's windows (and of `random`); healed as the guide does, what a seed chose with that seed. " +
		"Mean accuracy, mean ± standard deviation.\n\n| metric | layers dropped | cut | healed |\n|---|---|---|---|\n")
	for _, m := range ranked() {
		row, err := l.metric(m)
		if err != nil {
			return err
		}
		b.WriteString(row)
	}
	b.WriteString("\n")
	return nil
}

// metric is the row of a metric.
func (l *lab) metric(name string) (string, error) {
	var cut, healed []float64
	var lists []string
	for _, seed := range seeds() {
		drop, err := l.chosen(name, seed)
		if err != nil {
			return "", err
		}
		r, err := l.eval("cut_"+drop, l.sapling(sapling.ModelDir), "--drop", drop)
		if err != nil {
			return "", err
		}
		cut = append(cut, r.mean())
		if !slices.Contains(lists, drop) {
			lists = append(lists, drop)
		}
		if r, err = l.heal(guide(), drop, seed); err != nil {
			return "", err
		}
		healed = append(healed, r.mean())
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", name, strings.Join(lists, "; "), percent(cut), percent(healed)), nil
}

// percent writes a mean and its spread.
func percent(xs []float64) string {
	mean, deviation := spread(xs)
	return fmt.Sprintf("%.1f ± %.1f", 100*mean, 100*deviation)
}
