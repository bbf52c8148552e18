package digest

import (
	"math"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/stat"
	"github.com/coppice-ml/coppice/run/rundir"
)

// Value is one number that was measured.
type Value struct {
	Kind           string // tasks, perplexity, speed, size, heal
	Task, Metric   string
	Key            string // of results.json, of tasks
	Value, StdErr  report.Number
	N              int
	Chance         float64 // 0: not known
	HigherIsBetter bool
	Group, Partial bool
}

// AtChance says that guessing comes to no less, by two standard errors.
func (v Value) AtChance() bool { return stat.AtChance(v.Value, v.StdErr, v.Chance) }

// Empty says that there was nothing to measure it on.
func (v Value) Empty() bool { return v.Kind == rundir.KindTasks && v.N == 0 }

// NaN is no number.
func NaN() report.Number { return report.Number(math.NaN()) }

// Values are all numbers of a state: of tasks every metric, groups after what they are
// made of.
func (s *State) Values() (out []Value) {
	if s.Tasks != nil {
		for _, task := range s.outline(true) {
			for _, key := range s.keys(task) {
				out = append(out, s.value(task, key))
			}
		}
	}
	for _, p := range s.Perplexity {
		out = append(out, Value{Kind: rundir.KindPerplexity, Task: BaseName(p.Data), Metric: "perplexity", Value: p.Perplexity, StdErr: NaN(), N: p.Tokens})
	}
	if s.Speed != nil {
		out = append(out, rate("prefill", s.Speed.Prefill)...)
		out = append(out, rate("decode", s.Speed.Decode)...)
	}
	return out
}

func rate(name string, r *rundir.Rate) []Value {
	if r == nil {
		return nil
	}
	return []Value{{Kind: rundir.KindSpeed, Task: name, Metric: "tokens_per_second", Value: r.TokensPerSecond, StdErr: NaN(), N: r.Tokens, HigherIsBetter: true}}
}

// Rows are the numbers that a table of the tasks shows: of each the first metric,
// parts of groups in groups left out.
func (s *State) Rows() (out []Value) {
	if s == nil || s.Tasks == nil {
		return nil
	}
	for _, task := range s.outline(false) {
		if keys := s.keys(task); len(keys) > 0 {
			out = append(out, s.value(task, keys[0]))
		}
	}
	return out
}

// Row is that of a task.
func (s *State) Row(task string) (Value, bool) {
	rows := s.Rows()
	i := slices.IndexFunc(rows, func(v Value) bool { return v.Task == task })
	if i < 0 {
		return Value{}, false
	}
	return rows[i], true
}

func (s *State) outline(all bool) []string {
	var names []string
	for name := range s.Tasks.Results {
		names = append(names, name)
	}
	slices.Sort(names)
	return report.Outline(names, s.Tasks.GroupSubtasks, all)
}

// accuracy is the key of the metric that comes first.
const accuracy = "acc,none"

// keys are the metrics of a task, accuracy first.
func (s *State) keys(task string) (out []string) {
	for key, v := range s.Tasks.Results[task] {
		name, _, ok := strings.Cut(key, ",")
		_, number := v.(float64)
		if ok && (number || v == nil) && !strings.HasSuffix(name, "_stderr") { // null: not a number
			out = append(out, key)
		}
	}
	slices.Sort(out)
	if i := slices.Index(out, accuracy); i > 0 {
		copy(out[1:], out[:i])
		out[0] = accuracy
	}
	return out
}

func (s *State) value(task, key string) Value {
	f := s.Tasks
	metric, filter, _ := strings.Cut(key, ",")
	v := Value{Kind: rundir.KindTasks, Task: task, Metric: metric, Key: key, Value: NaN(), StdErr: NaN(), HigherIsBetter: true}
	if filter != "none" && filter != "" {
		v.Metric += " (" + filter + ")"
	}
	if n, ok := f.Results[task][key].(float64); ok {
		v.Value = report.Number(n)
	}
	if n, ok := f.Results[task][metric+"_stderr,"+filter].(float64); ok {
		v.StdErr = report.Number(n)
	}
	if up, ok := f.HigherIsBetter[task][metric]; ok {
		v.HigherIsBetter = up
	}
	if metric == "acc" || metric == "acc_norm" {
		v.Chance = f.Coppice.Chance[task]
	}
	v.Group = len(f.GroupSubtasks[task]) > 0
	v.N, v.Partial = s.documents(task, 4)
	return v
}

// documents counts those of a task, or of all that a group is made of.
func (s *State) documents(task string, depth int) (n int, partial bool) {
	if c, ok := s.Tasks.Samples[task]; ok || depth == 0 {
		return c.Effective, c.Effective < c.Original
	}
	for _, m := range s.Tasks.GroupSubtasks[task] {
		more, part := s.documents(m, depth-1)
		n, partial = n+more, partial || part
	}
	return n, partial
}

// meanOf is what a value is the mean of: a group's tasks, or a task by itself.
func (s *State) meanOf(v Value) stat.Mean {
	if v.Group {
		return stat.Mean{Name: v.Task, Key: v.Key, Weights: s.Tasks.Coppice.Means[v.Task].Weights}
	}
	return stat.Task(v.Task, v.Key)
}

// Mean is what the state came to in one number: the group that was asked for last, or
// the plain mean of the tasks that have an accuracy.
func (s *State) Mean() (Value, stat.Mean, bool) {
	rows := s.Rows()
	if len(rows) == 0 {
		return Value{}, stat.Mean{}, false
	}
	if last := rows[len(rows)-1]; last.Group {
		return last, s.meanOf(last), true
	}
	of := stat.Mean{Name: "mean of tasks", Key: accuracy, Weights: map[string]float64{}}
	var sum, square, chance float64
	known := true
	for _, v := range rows {
		if v.Key != accuracy || v.Empty() {
			continue
		}
		of.Weights[v.Task] = 1
		sum, square, chance = sum+float64(v.Value), square+float64(v.StdErr*v.StdErr), chance+v.Chance
		known = known && v.Chance > 0
	}
	n := float64(len(of.Weights))
	if n == 0 {
		return rows[0], stat.Task(rows[0].Task, rows[0].Key), true
	}
	mean := Value{Kind: rundir.KindTasks, Task: of.Name, Metric: "acc", Key: accuracy, Value: report.Number(sum / n), StdErr: report.Number(math.Sqrt(square) / n), HigherIsBetter: true, Group: true}
	for _, v := range rows {
		mean.N, mean.Partial = mean.N+v.N, mean.Partial || v.Partial
	}
	if known {
		mean.Chance = chance / n
	}
	if len(of.Weights) == 1 {
		mean.Task, of.Name = rows[0].Task, rows[0].Task
	}
	return mean, of, true
}

// BaseName is the last part of a path or an id.
func BaseName(path string) string {
	path = strings.TrimRight(strings.ReplaceAll(path, "\\", "/"), "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

// Parameters, bytes of weights and bytes of cache a token of a trial's model, before
// and after the cut.
type Size struct{ Before, After int64 }

// Sizes are those of a trial; ok is false where nothing is known of the model.
func (t *Trial) Sizes() (parameters, bytes, kv Size) {
	f := t.Of.Facts
	parameters, bytes, kv = Size{f.Parameters, f.Parameters}, Size{f.Bytes, f.Bytes}, Size{t.Of.KVBytesPerToken, t.Of.KVBytesPerToken}
	if p := t.Plan; p != nil {
		parameters, bytes = Size{p.ParametersBefore, p.Parameters}, Size{p.BytesBefore, p.Bytes}
		if p.Layers > 0 {
			kv.After = kv.Before * int64(len(p.Keep)) / int64(p.Layers)
		}
	}
	return parameters, bytes, kv
}

// Rate is the speed of a state, of kind prefill or decode, in tokens a second; that of
// a healed model is the cut one's, which has the same shapes. NaN: not measured.
func (t *Trial) Rate(state string, decode bool) report.Number {
	s := t.State(state)
	if (s == nil || s.Speed == nil) && state == rundir.Healed {
		s = t.State(rundir.Cut)
	}
	if s == nil || s.Speed == nil {
		return NaN()
	}
	r := s.Speed.Prefill
	if decode {
		r = s.Speed.Decode
	}
	if r == nil {
		return NaN()
	}
	return r.TokensPerSecond
}
