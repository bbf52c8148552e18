package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/mmap"
)

// Measured is one number of a result file.
type Measured struct {
	Task   string
	Metric string
	Value  Number
	StdErr Number // NaN where it is not known
	N      int    // documents or tokens; 0 where it is not known
	// Limited is set for results of a part of the documents (--limit).
	Limited bool
}

// ReadMeasured reads numbers from a results.json in the form of
// lm-evaluation-harness, or from JSON lines of type result or perplexity as
// commands print them. There must be one at least.
func ReadMeasured(path string) ([]Measured, error) {
	raw, err := mmap.ReadNamed(path)
	if err != nil {
		return nil, err
	}
	var file harnessFile
	if json.Unmarshal(raw, &file) == nil && file.Results != nil {
		return file.measured(), nil
	}
	var out []Measured
	n := 0
	for line := range strings.Lines(string(raw)) {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		m, ok, err := measuredLine([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w; want a results.json, or the lines that eval or ppl print with --json", path, n, err)
		}
		if ok {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: holds no results; want a results.json, or the lines that eval or ppl print with --json", path)
	}
	return out, nil
}

// Subject is what results are of.
type Subject struct {
	Model     string
	ModelHash string // "": the file does not say
	Layers    int    // of the model
	Keep      []int  // those that ran; nil: all
	Version   string // of Coppice
	DType     string // of the inputs of matrix products
}

// ReadSubject reads which model a file that ReadMeasured reads is of.
func ReadSubject(path string) (Subject, error) {
	raw, err := mmap.ReadNamed(path)
	if err != nil {
		return Subject{}, err
	}
	var file struct {
		Coppice EvalOrigin `json:"coppice"`
	}
	if json.Unmarshal(raw, &file) != nil {
		return Subject{}, nil // JSON lines, which name no model
	}
	o := file.Coppice
	return Subject{Model: o.Model, ModelHash: o.ModelHash, Layers: o.Layers, Keep: o.Compute.Keep, Version: o.Version, DType: o.Compute.DType}, nil
}

// harnessFile is what of results.json a table needs.
type harnessFile struct {
	Results map[string]map[string]any `json:"results"`
	Samples map[string]struct {
		Original  int `json:"original"`
		Effective int `json:"effective"`
	} `json:"n-samples"`
	Subtasks map[string][]string `json:"group_subtasks"`
	Config   struct {
		Limit *float64 `json:"limit"`
	} `json:"config"`
}

// shown lists the tasks of a table: those that were asked for and, of groups, what
// they are directly made of, which stands before them. The subjects of a benchmark
// are two hundred rows that say less than its mean.
func (f harnessFile) shown() []string {
	inside := map[string]bool{}
	for _, members := range f.Subtasks {
		for _, m := range members {
			inside[m] = true
		}
	}
	var names, groups []string
	for _, name := range slices.Sorted(maps.Keys(f.Results)) {
		switch members := f.Subtasks[name]; {
		case inside[name]:
		case len(members) == 0:
			names = append(names, name)
		default:
			groups = append(groups, name)
		}
	}
	for _, g := range groups {
		names = append(names, slices.Sorted(slices.Values(f.Subtasks[g]))...)
		names = append(names, g)
	}
	if len(names) == 0 { // groups that are in each other
		return slices.Sorted(maps.Keys(f.Results))
	}
	return slices.DeleteFunc(names, func(name string) bool { return f.Results[name] == nil })
}

// documents counts those of a task, or of all that a group is made of.
func (f harnessFile) documents(task string, depth int) (effective, original int) {
	n, ok := f.Samples[task]
	if ok || depth == 0 {
		return n.Effective, n.Original
	}
	for _, m := range f.Subtasks[task] {
		e, o := f.documents(m, depth-1)
		effective, original = effective+e, original+o
	}
	return effective, original
}

// measured lists the metrics: keys such as "acc,none", with "acc_stderr,none"
// beside them.
func (f harnessFile) measured() []Measured {
	var out []Measured
	for _, task := range f.shown() {
		metrics := f.Results[task]
		effective, original := f.documents(task, 4)
		for _, key := range slices.Sorted(maps.Keys(metrics)) {
			value, isNumber := metrics[key].(float64)
			name, filter, _ := strings.Cut(key, ",")
			if !isNumber || strings.HasSuffix(name, "_stderr") || !strings.Contains(key, ",") {
				continue
			}
			m := Measured{Task: task, Metric: filtered(name, filter), Value: Number(value), StdErr: nan(), N: effective}
			m.Limited = f.Config.Limit != nil || m.N < original
			if e, ok := metrics[name+"_stderr,"+filter].(float64); ok {
				m.StdErr = Number(e)
			}
			out = append(out, m)
		}
	}
	return out
}

func nan() Number { return Number(math.NaN()) }

// filtered names the filter that answers went through, where there is one.
func filtered(metric, filter string) string {
	if filter == "" || filter == "none" {
		return metric
	}
	return metric + " (" + filter + ")"
}

func measuredLine(line []byte) (Measured, bool, error) {
	l, err := Read(line)
	if unknown := (*UnknownError)(nil); errors.As(err, &unknown) {
		return Measured{}, false, nil
	}
	switch l := l.(type) {
	case Result:
		return Measured{Task: l.Task, Metric: filtered(l.Metric, l.Filter), Value: l.Value, StdErr: l.StdErr, N: l.N, Limited: l.Partial}, true, err
	case Perplexity:
		return Measured{Task: l.Data, Metric: "perplexity", Value: l.Perplexity, StdErr: nan(), N: l.Tokens}, true, err
	}
	return Measured{}, false, err
}
